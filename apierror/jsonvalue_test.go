package apierror_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// value is a JSON value with all its parts.
type value struct {
	literal string // if it is neither an object nor an array
	open    byte   // '{' or '['
	keys    []string
	parts   []*value
}

func parseValue(t testing.TB, text string) *value {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	v, err := readValue(d)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func readValue(d *json.Decoder) (*value, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	open, ok := token.(json.Delim)
	if !ok {
		b, err := json.Marshal(token)
		return &value{literal: string(b)}, err
	}
	v := &value{open: byte(open)}
	for d.More() {
		if open == '{' {
			key, err := d.Token()
			if err != nil {
				return nil, err
			}
			v.keys = append(v.keys, key.(string))
		}
		part, err := readValue(d)
		if err != nil {
			return nil, err
		}
		v.parts = append(v.parts, part)
	}
	_, err = d.Token()
	return v, err
}

// write appends the value, with white space and escaped names at random.
func (v *value) write(b *strings.Builder, r *rand.Rand) {
	space := func() { b.WriteString([...]string{"", "", "", "", " ", "\n", "\t\r"}[r.IntN(7)]) }
	space()
	defer space()
	if v.open == 0 {
		b.WriteString(v.literal)
		return
	}
	b.WriteByte(v.open)
	for i, part := range v.parts {
		if i > 0 {
			b.WriteByte(',')
		}
		if v.open == '{' {
			space()
			name, _ := json.Marshal(v.keys[i])
			if k := v.keys[i]; k != "" && k[0] < 0x80 && r.IntN(8) == 0 {
				name = fmt.Appendf(nil, `"\u%04x%s`, k[0], name[2:])
				if k[0] == '"' || k[0] == '\\' || k[0] < ' ' || strings.IndexByte("<>&", k[0]) >= 0 {
					name, _ = json.Marshal(k)
				}
			}
			b.Write(name)
			space()
			b.WriteByte(':')
		}
		part.write(b, r)
	}
	space()
	b.WriteByte(v.open + 2)
}

// places calls yield for the value and all that are in it, with their paths.
func (v *value) places(path string, yield func(path string, v *value)) {
	yield(path, v)
	for i, part := range v.parts {
		part.places(v.pathOf(path, i), yield)
	}
}

func (v *value) pathOf(path string, i int) string {
	switch {
	case v.open == '[':
		return path + "[" + strconv.Itoa(i) + "]"
	case v.keys[i] == "":
		return strings.TrimPrefix(path+`.""`, ".")
	}
	return strings.TrimPrefix(path+"."+v.keys[i], ".")
}

// duplicate reports whether an object has one name twice, and whether it has two names that a
// target may read into one field.
func (v *value) duplicate() (same, alike bool) {
	v.places("", func(_ string, v *value) {
		for i, key := range v.keys {
			for _, other := range v.keys[:i] {
				a, errA := strconv.ParseInt(key, 10, 64)
				b, errB := strconv.ParseInt(other, 10, 64)
				same = same || key == other
				alike = alike || strings.EqualFold(key, other) || errA == nil && errB == nil && a == b
			}
		}
	})
	return same, alike
}

var replacements = []string{
	`null`, `true`, `false`, `0`, `-1`, `1.5`, `1e2`, `300`, `70000`, `1e999`, `18446744073709551616`, `"x"`, `""`, `"5"`, `"-1"`, `"null"`, `"true"`, `"low"`,
	`"\""`, `"\"x\""`, `"aGk="`, `{}`, `[]`, `[null]`, `{"zz":1}`, `"2026-01-02T03:04:05Z"`, `"\ud800"`, `" 5"`, `"01"`, `3`,
	`"nope"`, `"truth"`, `"+4"`, `"inf"`, `"nan"`, `"4x"`, `"0x4"`,
}

func mutate(t testing.TB, doc *value, r *rand.Rand) {
	t.Helper()
	var all []*value
	doc.places("", func(_ string, v *value) { all = append(all, v) })
	v := all[r.IntN(len(all))]
	if len(v.keys) == 0 || r.IntN(2) == 0 {
		*v = *parseValue(t, replacements[r.IntN(len(replacements))])
		return
	}
	i := r.IntN(len(v.keys))
	switch r.IntN(5) {
	case 0:
		v.keys[i] = strings.ToUpper(v.keys[i])
	case 1:
		v.keys[i] = strings.Map(func(c rune) rune {
			switch c {
			case 's':
				return 'ſ'
			case 'k':
				return '\u212a'
			}
			return c
		}, v.keys[i])
	case 2:
		v.keys[i] = [...]string{"zz", "", "01", "-0", "+1", "1.5", "300", "middle", "low"}[r.IntN(9)]
	case 3:
		v.keys, v.parts = append(v.keys, v.keys[i]), append(v.parts, v.parts[i])
	case 4:
		v.keys, v.parts = slices.Delete(v.keys, i, i+1), slices.Delete(v.parts, i, i+1)
	}
}

// eachPlace calls test for each value in a JSON document: with a fresh copy of the document, the
// value's path and the value, which may be changed.
func eachPlace(t testing.TB, text string, test func(doc *value, path string, v *value)) {
	t.Helper()
	count := 0
	parseValue(t, text).places("", func(string, *value) { count++ })
	for at := range count {
		doc := parseValue(t, text)
		var (
			path  string
			place *value
			i     int
		)
		doc.places("", func(p string, v *value) {
			if i == at {
				path, place = p, v
			}
			i++
		})
		test(doc, path, place)
	}
}

// add adds a null member to an object, or the "first" or "last" one again if there is any. It
// reports whether the name is a duplicate.
func (v *value) add(name string) (twice bool) {
	member := &value{literal: "null"}
	if twice = len(v.keys) > 0 && (name == "first" || name == "last"); twice {
		at := 0
		if name == "last" {
			at = len(v.keys) - 1
		}
		name = v.keys[at]
		member = v.parts[slices.Index(v.keys, name)]
	}
	v.keys, v.parts = append(v.keys, name), append(v.parts, member)
	return twice
}
