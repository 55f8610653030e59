// Package heap collects garbage at the one place where that is possible.
//
// The host puts the arguments of a call into the plugin's memory by having the plugin allocate, and while it does, the plugin
// may call nothing outside: that is a trap ("cannot leave component instance"). Go's collector does call outside, and starts
// whenever enough was allocated: in one call of tens of thousands that is this very moment. So it is off, and runs from inside
// a call.
package heap

import (
	"runtime"
	"runtime/debug"
)

// limit is how many bytes of arguments are taken between two collections. What a call allocates beside them is a few times
// as much at most; all of it is well below the 64 MiB that a plugin has unless the plan says otherwise.
const limit = 4 << 20

// overhead is what a call allocates however short its arguments are, rounded up.
const overhead = 1 << 10

var taken int

func init() {
	debug.SetGCPercent(-1)
}

// Taken is told, in each call, how many bytes its arguments have.
func Taken(bytes int) {
	taken += bytes + overhead
	if taken > limit {
		taken = 0
		runtime.GC()
	}
}
