package node

import (
	"reflect"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// ToWall makes every instant that a value points to one of the wall clock, for whoever writes the value down: as far from now as it is by the
// monotonic clock, whatever the wall clock has shown before.
func ToWall(v any, now time.Time) {
	wall := now.Round(0)
	move(reflect.ValueOf(v), func(t time.Time) time.Time { return wall.Add(t.Sub(now)) }, true)
}

// FromWall makes them instants of the clock of whoever has read the value: by that one it was written then, and wrote that wall reading for
// now.
//
// A mark stays when the wall clock said that it was heard, if that clock was set meanwhile so far that its Authenticator notices: it may be one
// that stood still unseen while the sender's went on.
func FromWall(v any, wall, then time.Time) {
	marks := then.Sub(wall).Abs() <= vrrp.StartSlack
	move(reflect.ValueOf(v), func(t time.Time) time.Time { return then.Add(t.Sub(wall)) }, marks)
}

// move replaces every instant in a value but the zero one, which is no instant, and says whether there was any. What has none is
// not written to: others may read it. Without marks those of vrrp.Mark stay.
func move(v reflect.Value, to func(time.Time) time.Time, marks bool) (moved bool) {
	if !marks && v.Type() == reflect.TypeFor[vrrp.Mark]() {
		return false
	}
	switch v.Kind() {
	case reflect.Pointer:
		return !v.IsNil() && move(v.Elem(), to, marks)
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			moved = move(v.Index(i), to, marks) || moved
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			value := reflect.New(v.Type().Elem()).Elem()
			value.Set(v.MapIndex(key))
			if move(value, to, marks) {
				v.SetMapIndex(key, value)
				moved = true
			}
		}
	case reflect.Struct:
		if t, ok := reflect.TypeAssert[time.Time](v); ok {
			if !t.IsZero() {
				v.Set(reflect.ValueOf(to(t)))
			}
			return !t.IsZero()
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				moved = move(v.Field(i), to, marks) || moved
			}
		}
	}
	return moved
}
