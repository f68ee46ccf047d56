// Package config turns configuration files (HCL 2 or its JSON form) into what the daemon runs: [Load]. [Validate] does
// the same for every host that shares the files, and proves that a failing check can move the addresses. [Diff] says what
// a reload has to do.
//
// The way is files -> raw (structs that mirror the blocks) -> typed; behind Load nothing is unset or impossible. All
// mistakes are collected, each with its place, the value and what is allowed.
package config
