// Package machines turns hosts of package netlab into whole Debian machines: systemd, nginx and a package manager, each in a
// container that has the host's network. So packages can be installed on them as an administrator does it, and the wires, the
// client and the record of the addresses are those of every other test. Its tests install the packages of understudy on a pair.
//
// It needs root, mmdebstrap, systemd-nspawn, and the package sources of the machine that it runs on.
package machines
