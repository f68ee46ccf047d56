package config

import (
	"reflect"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/checks"
	"github.com/understudy-ha/understudy/notify"
)

// Block is what the manual says of a kind of block. It is made from the structs that the blocks are decoded into.
type Block struct {
	// Header is how the block begins, such as `check "http" "NAME"`.
	Header string
	// Doc is one sentence.
	Doc     string
	Options []Option
	// Nested are the blocks that may stand inside.
	Nested []Block
	// Variables are those of the environment of what it runs.
	Variables []notify.Variable
}

// Option is one attribute of a block.
type Option struct {
	Name     string
	Type     string
	Required bool
	Default  string // as it is written; empty: none
	Doc      string
}

// Manual describes every block of the configuration, in the order in which people write them.
func Manual() []Block {
	blocks := []Block{
		{
			Header: `instance "NAME"`, Doc: "A group of virtual addresses with one fate. With addresses of both families it runs two virtual routers under one VRID.",
			Options: optionsOf(rawInstance{}),
			Nested: []Block{
				{Header: `expect "NODE"`, Doc: "What another host has: lets validate prove that a failing check moves the addresses.", Options: optionsOf(rawExpect{})},
				{Header: "auth", Doc: "Authentication of the adverts.", Options: optionsOf(rawAuth{}),
					Nested: []Block{{Header: `key "NUMBER"`, Doc: "One key; all keys verify, the active one signs.", Options: optionsOf(rawKey{})}}},
				{Header: "announce", Doc: "How the addresses are announced by ARP and neighbour advertisements.", Options: optionsOf(rawAnnounce{})},
			},
		},
		{Header: `group "NAME"`, Doc: "One fate across instances and interfaces.", Options: optionsOf(rawGroup{})},
		{Header: `check "KIND" "NAME"`, Doc: "What every kind of check takes.", Options: optionsOf(checks.Timing{}, rawEffect{})},
	}
	for _, k := range checks.Kinds {
		blocks = append(blocks, Block{Header: `check "` + k.Name + `" "NAME"`, Doc: k.Doc, Options: optionsOf(k.New())})
	}
	blocks = append(blocks, Block{Header: `notify "KIND" "NAME"`, Doc: "What every kind of hook takes.", Options: optionsOf(notify.Settings{})})
	for _, k := range notify.Kinds {
		b := Block{Header: `notify "` + k.Name + `" "NAME"`, Doc: k.Doc, Options: optionsOf(k.New())}
		if _, ok := k.New().(*notify.ScriptOptions); ok {
			b.Variables = notify.Variables
		}
		blocks = append(blocks, b)
	}
	return append(blocks,
		Block{Header: "control", Doc: "The control socket.", Options: optionsOf(rawControl{})},
		Block{Header: "reload", Doc: "When the configuration is read again.", Options: optionsOf(rawReload{})},
		Block{Header: "log", Doc: "The log, on standard error.", Options: optionsOf(rawLog{})},
	)
}

// optionsOf reads the tags of the structs' fields. What is more than an error message needs has a tag of its own.
func optionsOf(structs ...any) (list []Option) {
	for _, s := range structs {
		v := reflect.Indirect(reflect.ValueOf(s))
		for i := range v.NumField() {
			field := v.Type().Field(i)
			tag, ok := field.Tag.Lookup("hcl")
			if !ok {
				continue
			}
			name, optional, _ := strings.Cut(tag, ",")
			list = append(list, Option{
				Name: name, Type: typeWord(field.Type), Required: optional == "", Default: defaultOf(field),
				Doc: strings.TrimSpace(field.Tag.Get("doc") + " " + field.Tag.Get("more")),
			})
		}
	}
	return list
}

// typeWord is a type as the configuration knows it. What has a text form of its own is written as a string.
func typeWord(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "duration"
	case t.Kind() == reflect.Bool:
		return "bool"
	case t.Kind() == reflect.Int, t.Kind() == reflect.Float64:
		return "number"
	case t.Kind() == reflect.Slice:
		return "list of " + typeWord(t.Elem()) + "s"
	case t.Kind() == reflect.Map:
		return "map of " + typeWord(t.Elem()) + "s"
	default:
		return "string"
	}
}

// defaultOf is a field's default as it would be written.
func defaultOf(field reflect.StructField) string {
	text, ok := field.Tag.Lookup("default")
	switch {
	case !ok && field.Type.Kind() == reflect.Bool:
		return "false"
	case !ok:
		return ""
	}
	quote := func(s string) string { return `"` + s + `"` }
	switch typeWord(field.Type) {
	case "bool", "number":
		return text
	case "list of strings":
		var words []string
		for word := range strings.SplitSeq(text, ",") {
			words = append(words, quote(strings.TrimSpace(word)))
		}
		return "[" + strings.Join(words, ", ") + "]"
	default:
		return quote(text)
	}
}
