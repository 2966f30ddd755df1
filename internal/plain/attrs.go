package plain

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
)

// The bounds of what [Attrs] lets through, in bytes.
const (
	maxKey    = 128
	maxString = 1 << 10
	maxAttrs  = 16 << 10 // keys and values together
)

const (
	attrSize = 16          // what an attribute or an element counts for beside its text
	attrsCut = "attrs_cut" // the key that says that something was left out
)

// Attrs makes attrs fit for a log, in place: every key, and every string in the values, at any
// depth, passes [Text]. Values of slog.KindAny, which slog leaves to its handlers, become
// strings, booleans, numbers, slices and maps: an error or a fmt.Stringer becomes its text, and
// anything else becomes what encoding/json writes. If all of it is too long, the rest is left
// out, and a last attribute or element says so.
func Attrs(attrs []slog.Attr) []slog.Attr {
	c := cleaner{room: maxAttrs}
	return c.attrs(attrs)
}

// cleaner counts the bytes that are left.
type cleaner struct{ room int }

// full reports whether there is no room for one more attribute or element, which it counts.
func (c *cleaner) full() bool {
	c.room -= attrSize
	return c.room < 0
}

func (c *cleaner) text(s string, most int) string {
	s = Text(s, most)
	c.room -= len(s)
	return s
}

func (c *cleaner) attrs(attrs []slog.Attr) []slog.Attr {
	for i, a := range attrs {
		if c.full() {
			return append(attrs[:i], slog.Bool(attrsCut, true))
		}
		attrs[i] = slog.Attr{Key: c.text(a.Key, maxKey), Value: c.value(a.Value.Resolve())}
	}
	return attrs
}

func (c *cleaner) value(v slog.Value) slog.Value {
	switch v.Kind() {
	case slog.KindString:
		return slog.StringValue(c.text(v.String(), maxString))
	case slog.KindGroup:
		return slog.GroupValue(c.attrs(slices.Clone(v.Group()))...) // the group may be someone else's too
	case slog.KindAny:
		return slog.AnyValue(c.opaque(v.Any()))
	default:
		return v
	}
}

// opaque returns what x holds as a value without methods: a handler would call those of x, and log
// what they return.
func (c *cleaner) opaque(x any) (plainly any) {
	defer func() {
		if recover() != nil {
			plainly = c.text(fmt.Sprintf("(a %T whose text panics)", x), maxString)
		}
	}()
	switch x.(type) {
	case error:
		return c.text(fmt.Sprint(x), maxString)
	case json.Marshaler, encoding.TextMarshaler, json.Number:
	case fmt.Stringer:
		return c.text(fmt.Sprint(x), maxString)
	}
	text, err := json.Marshal(x)
	if err != nil {
		return c.text("!ERROR:"+err.Error(), maxString) // as slog's JSON handler writes it
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&plainly); err != nil {
		return c.text("!ERROR:"+err.Error(), maxString)
	}
	return c.decoded(plainly)
}

func (c *cleaner) decoded(x any) any {
	switch x := x.(type) {
	case string:
		return c.text(x, maxString)
	case json.Number:
		return c.number(x)
	case []any:
		for i := range x {
			if c.full() {
				return append(x[:i], "…")
			}
			x[i] = c.decoded(x[i])
		}
		return x
	case map[string]any:
		plainly := make(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(x)) {
			if c.full() {
				plainly[attrsCut] = true
				break
			}
			plainly[c.text(key, maxKey)] = c.decoded(x[key])
		}
		return plainly
	default: // a bool, or nil
		return x
	}
}

// number returns n as an int64, or else with its digits as they are, unless there are very many.
func (c *cleaner) number(n json.Number) any {
	if i, err := n.Int64(); err == nil {
		return i
	}
	if s := c.text(n.String(), maxKey); s != n.String() {
		return s
	}
	return n
}
