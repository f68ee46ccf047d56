package netlab

// Do runs fn on an operating system thread in the host's network namespace: the sockets that fn makes stay on the host. What
// fn starts in other goroutines is not on the host.
func (h *Host) Do(fn func() error) error { return h.ns.do(fn) }
