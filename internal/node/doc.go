// Package node decides what understudy decides above the RFC: effective priorities, yield and release, handover, the one
// fate of an instance's families and of a group's instances, and the status with the reasons in it. It owns all virtual
// routers of the host. It is pure: it has no clock, no I/O, no randomness and no log.
package node
