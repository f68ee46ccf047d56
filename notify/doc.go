// Package notify tells the rest of the host what became of an instance: it queues transitions and runs the hooks that
// want them.
//
// Each instance and each group has a queue of its own. A queue runs one hook at a time, those of one transition in the
// order of the configuration, and holds at most one transition more: the latest. Hooks are level-triggered: when a newer
// transition comes while the hooks of an older one are still running, the running hook ends (or reaches its timeout), the
// rest of the older transition's hooks are left out, since they would tell of a state that is gone, and the newer
// transition's hooks run, all of them, also when its state is the one that they were last run for. A hook is therefore
// not a log of every state, but what it was last told is always the state that the instance has, unless it failed.
//
// Hooks of a kind that serves the whole host (nginx) have one queue for the host instead, in which one run serves all
// instances that changed in the meantime. Queues do not wait for each other, but at most MaxRunning hooks run at once.
package notify
