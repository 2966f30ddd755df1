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

// Bounds of [Attrs], in bytes.
const (
	maxKey    = 128
	maxString = 1 << 10
	maxAttrs  = 16 << 10 // keys and values together
)

const (
	attrSize = 16          // counted for an attribute or an element, in addition to its text
	attrsCut = "attrs_cut" // the key of an attribute that says that others were left out
)

// Attrs makes attrs safe for a log, in place. Every key, and every string in the values at
// any depth, passes [Text]. Values of [slog.KindAny] become strings, booleans, numbers,
// slices and maps: an error or a fmt.Stringer becomes its text, and any other value becomes
// what encoding/json writes. If the attributes are too long in total, the rest is left out,
// and a last attribute or element says so.
func Attrs(attrs []slog.Attr) []slog.Attr {
	c := cleaner{room: maxAttrs}
	return c.attrs(attrs)
}

// cleaner makes attributes safe, and counts the bytes that are left.
type cleaner struct{ room int }

// full counts one more attribute or element, and reports whether there is no room for it.
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
		return slog.GroupValue(c.attrs(slices.Clone(v.Group()))...) // the caller may use the group again
	case slog.KindAny:
		return slog.AnyValue(c.opaque(v.Any()))
	default:
		return v
	}
}

// opaque returns the content of x as a value without methods. A handler would call the
// methods of x, and log what they return.
func (c *cleaner) opaque(x any) (plainly any) {
	defer func() {
		if recover() != nil {
			plainly = c.text(fmt.Sprintf("(a %T that panics when it is printed)", x), maxString)
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

// decoded cleans a value that encoding/json has decoded.
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

// number returns n as an int64 if it is one. Otherwise it keeps the digits, unless there
// are too many.
func (c *cleaner) number(n json.Number) any {
	if i, err := n.Int64(); err == nil {
		return i
	}
	if s := c.text(n.String(), maxKey); s != n.String() {
		return s
	}
	return n
}
