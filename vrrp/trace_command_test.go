package vrrp

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Command runs one line of a script.
func (tr *tracer) Command(line string) error {
	name, rest, _ := strings.Cut(line, " ")
	args := strings.Fields(rest)
	switch name {
	// config interval=10ms preempt=false: a machine of its own, before its startup.
	case "config":
		cfg, err := configured(*tr.m.Config(), args)
		tr.m = New(cfg)
		return err
	// reconfigure interval=2s: the same keys, while it runs.
	case "reconfigure":
		cfg, err := configured(*tr.m.Config(), args)
		if err != nil {
			return err
		}
		return tr.step(Reconfigure{cfg})
	// at 1.5s: the time since the script's start; nothing is fed.
	case "at":
		return tr.at(rest)
	// elapse: go to the deadline, unless it is past, and feed Elapsed.
	case "elapse":
		deadline, ok := tr.m.Deadline()
		if !ok {
			return fmt.Errorf("no deadline to go to")
		}
		if deadline.After(tr.now) {
			tr.now = deadline
		}
		return tr.step(Elapsed{})
	// elapsed: feed Elapsed now, whether the deadline has come or not.
	case "elapsed":
		return tr.step(Elapsed{})
	// heard 100 from 10.0.0.1 interval=2s: an advert that goes through Refuse, as in the daemon.
	case "heard":
		return tr.heard(args, func(a Advert, from netip.Addr) Event { return Heard{a, from} })
	// early 100 from 10.0.0.1 interval=2s: one that may be old.
	case "early":
		return tr.heard(args, func(a Advert, from netip.Addr) Event { return Early{a, from} })
	default:
		ev, err := tr.event(name, rest)
		if err != nil {
			return err
		}
		return tr.step(ev)
	}
}

// event reads the commands that are one event each.
func (tr *tracer) event(name, rest string) (Event, error) {
	number, why, _ := strings.Cut(rest, " ")
	switch name {
	case "startup": // startup 100
		p, err := parsePriority(number)
		return Startup{p, tr.own()}, err
	case "priority": // priority 1
		p, err := parsePriority(number)
		return SetPriority{p}, err
	case "leave": // leave 150 nginx is unhealthy
		p, err := parsePriority(number)
		return Leave{p, why}, err
	case "hold": // hold 10s: no preemption until 10s after the script's start
		d, err := time.ParseDuration(rest)
		return HoldPreempt{tr.start.Add(d)}, err
	case "listen": // listen 1.1s woke late: a StepDown that listens so long
		d, err := time.ParseDuration(number)
		return StepDown{Why: why, Listen: d}, err
	case "source": // source 10.0.0.9
		a, err := netip.ParseAddr(rest)
		return SetSource{a}, err
	case "shutdown": // these take a reason, or none
		return Shutdown{rest}, nil
	case "promote":
		return Promote{rest}, nil
	case "stepdown":
		return StepDown{Why: rest}, nil
	case "resume":
		return Resume{rest}, nil
	case "handed-over":
		return HandedOver{Why: rest, Interval: MaxIntervalV3, Since: tr.now}, nil
	case "witnessed":
		return Witnessed{Why: rest}, nil
	case "answered": // a host that was asked
		return Witnessed{Why: rest, Asked: true}, nil
	default:
		return nil, fmt.Errorf("unknown command %q", name)
	}
}

// own is this router's address: 10.0.0.2 or fe80::2.
func (tr *tracer) own() netip.Addr {
	if tr.m.Config().Family == IPv6 {
		return netip.MustParseAddr("fe80::2")
	}
	return netip.MustParseAddr("10.0.0.2")
}

func (tr *tracer) at(offset string) error {
	d, err := time.ParseDuration(offset)
	if err != nil {
		return err
	}
	to := tr.start.Add(d)
	if to.Before(tr.now) {
		return fmt.Errorf("it is %s already", tr.since(tr.now))
	}
	tr.now = to
	return nil
}

func (tr *tracer) heard(args []string, event func(Advert, netip.Addr) Event) error {
	if len(args) < 3 || args[1] != "from" {
		return fmt.Errorf("want: heard|early PRIORITY from ADDRESS [interval=1s] [version=3]")
	}
	p, err := parsePriority(args[0])
	if err != nil {
		return err
	}
	from, err := netip.ParseAddr(args[2])
	if err != nil {
		return err
	}
	cfg, err := configured(*tr.m.Config(), args[3:])
	if err != nil {
		return err
	}
	a := Advert{Version: cfg.Version, VRID: cfg.VRID, Priority: p, Interval: cfg.Interval, Addresses: cfg.Addresses}
	if err := tr.m.Config().Refuse(received(a, from), tr.m.source, tr.m.Priority(), nil); err != nil {
		tr.printf("%-12s refused (%s): %v", tr.since(tr.now), ReasonOf(err), err)
		return nil
	}
	return tr.step(event(a, from))
}

// configured changes a configuration by key=value.
func configured(cfg Config, args []string) (Config, error) {
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		var err error
		switch key {
		case "version":
			var v uint64
			v, err = strconv.ParseUint(value, 10, 8)
			cfg.Version = Version(v)
		case "interval":
			cfg.Interval, err = time.ParseDuration(value)
		case "dead":
			cfg.DeadAdverts, err = strconv.Atoi(value)
		case "preempt":
			cfg.Preempt, err = strconv.ParseBool(value)
		case "address":
			var a netip.Addr
			a, err = netip.ParseAddr(value)
			cfg.Addresses, cfg.Family = []netip.Addr{a}, FamilyOf(a)
		default:
			err = fmt.Errorf("unknown key %q", key)
		}
		if err != nil {
			return cfg, err
		}
	}
	return cfg, nil
}

func parsePriority(s string) (uint8, error) {
	p, err := strconv.ParseUint(s, 10, 8)
	return uint8(p), err
}
