package apierror

import (
	"encoding"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"sync"
	"unicode"
)

// shape is what encoding/json reads into a type of a target. There is one per type.
type shape struct {
	t        reflect.Type // of the target
	base     reflect.Type // behind its pointers
	kind     reflect.Kind // of base; Invalid if a pointer on the way reads the value itself
	nullable bool         // a pointer: null never reaches what it points to
	own      bool         // its UnmarshalJSON reads it
	text     bool         // its UnmarshalText reads it
	hopeless bool         // no JSON but null can be read into it: a mistake of the program

	elem    func() *shape   // of a slice, an array or a map
	members func() *members // of a struct
	length  int             // of an array
	key     reflect.Type    // of a map
	keyText bool            // its UnmarshalText reads it
}

var (
	shapes sync.Map // from reflect.Type to *shape

	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	jsonNumber      = reflect.TypeFor[json.Number]()
)

func shapeOf(t reflect.Type) *shape {
	known, ok := shapes.Load(t)
	if !ok {
		known, _ = shapes.LoadOrStore(t, newShape(t))
	}
	return known.(*shape)
}

func newShape(t reflect.Type) *shape {
	s := &shape{t: t, nullable: t.Kind() == reflect.Pointer}
	reads := func(pointer reflect.Type) bool {
		s.own = pointer.Implements(jsonUnmarshaler)
		s.text = !s.own && pointer.Implements(textUnmarshaler)
		return s.own || s.text
	}
	for ; t.Kind() == reflect.Pointer; t = t.Elem() {
		if reads(t) {
			return s
		}
	}
	s.base, s.kind = t, t.Kind()
	if t.Name() != "" && reads(reflect.PointerTo(t)) { // encoding/json asks types with a name alone
		return s
	}
	switch s.kind {
	case reflect.Struct:
		s.members = sync.OnceValue(func() *members { return membersOf(t) })
	case reflect.Array:
		s.length = t.Len()
		s.elem = sync.OnceValue(func() *shape { return shapeOf(t.Elem()) })
	case reflect.Slice:
		s.elem = sync.OnceValue(func() *shape { return shapeOf(t.Elem()) })
	case reflect.Map:
		s.elem = sync.OnceValue(func() *shape { return shapeOf(t.Elem()) })
		s.key = t.Key()
		s.keyText = reflect.PointerTo(s.key).Implements(textUnmarshaler)
		s.hopeless = !s.keyText && s.key.Kind() != reflect.String && !isInteger(s.key.Kind())
	case reflect.Interface:
		s.hopeless = t.NumMethod() > 0
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
		s.hopeless = true
	}
	return s
}

func isInteger(k reflect.Kind) bool { return isSigned(k) || isUnsigned(k) }
func isSigned(k reflect.Kind) bool  { return k >= reflect.Int && k <= reflect.Int64 }
func isUnsigned(k reflect.Kind) bool {
	return k >= reflect.Uint && k <= reflect.Uintptr
}

// members are those of the JSON objects that encoding/json reads into a struct.
type members struct {
	list          []member
	exact, folded map[string]int // index in list
}

type member struct {
	shape  func() *shape
	quoted bool                // has the option ,string
	alone  func() reflect.Type // a struct with nothing but the field, tagged json:"f,string"
	lost   bool                // behind an embedded pointer that encoding/json cannot set

	index     []int
	tagged    bool
	ambiguous bool
}

// find returns the member that encoding/json reads a name into: that of the exact name, or else the first of a name that differs
// in case alone. It returns -1 if there is none.
func (m *members) find(name []byte) int {
	if i, ok := m.exact[string(name)]; ok {
		return i
	}
	if i, ok := m.folded[foldCase(string(name))]; ok {
		return i
	}
	return -1
}

// foldCase returns the same text for all texts that strings.EqualFold finds equal.
func foldCase(s string) string {
	return strings.Map(func(r rune) rune {
		for {
			next := unicode.SimpleFold(r)
			if next <= r { // the first of those that r can be folded to
				return next
			}
			r = next
		}
	}, s)
}

// membersOf resolves embedded structs and tags as encoding/json does: of several fields with one name the least nested
// counts, among those of one level the one whose tag names it, and none if there are still several.
func membersOf(t reflect.Type) *members {
	type embedded struct {
		t           reflect.Type
		index       []int
		lost, twice bool
	}
	all := make(map[string]member)
	visited := make(map[reflect.Type]bool)
	for level := []embedded{{t: t}}; len(level) > 0; {
		var deeper []embedded
		here := make(map[string]member)
		for _, e := range level {
			if visited[e.t] {
				continue
			}
			visited[e.t] = true
			for i := range e.t.NumField() {
				f := e.t.Field(i)
				name, options, ok := memberName(f)
				if !ok {
					continue
				}
				index := append(slices.Clip(e.index), i)
				ft := f.Type
				if ft.Name() == "" && ft.Kind() == reflect.Pointer {
					ft = ft.Elem()
				}
				if name == "" && f.Anonymous && ft.Kind() == reflect.Struct { // its fields are members, not it
					if j := slices.IndexFunc(deeper, func(d embedded) bool { return d.t == ft }); j >= 0 {
						deeper[j].twice = true
					} else {
						deeper = append(deeper, embedded{ft, index, e.lost || !f.IsExported() && f.Type.Kind() == reflect.Pointer, false})
					}
					continue
				}
				m := newMember(f.Type, ft, options)
				m.index, m.tagged, m.lost, m.ambiguous = index, name != "", e.lost, e.twice
				if name == "" {
					name = f.Name
				}
				switch other, found := here[name]; {
				case !found, m.tagged && !other.tagged:
					here[name] = m
				case m.tagged == other.tagged:
					other.ambiguous = true
					here[name] = other
				}
			}
		}
		for name, m := range here {
			if _, hidden := all[name]; !hidden {
				all[name] = m
			}
		}
		level = deeper
	}
	ms := &members{exact: make(map[string]int), folded: make(map[string]int)}
	var names []string
	for name, m := range all {
		if !m.ambiguous {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int { return slices.Compare(all[a].index, all[b].index) })
	for i, name := range names {
		ms.list = append(ms.list, all[name])
		ms.exact[name] = i
		if _, taken := ms.folded[foldCase(name)]; !taken {
			ms.folded[foldCase(name)] = i
		}
	}
	return ms
}

// newMember is a field of the type t; ft is what t is or points to.
func newMember(t, ft reflect.Type, options string) member {
	m := member{shape: sync.OnceValue(func() *shape { return shapeOf(t) })}
	switch k := ft.Kind(); {
	case k == reflect.Bool, isInteger(k), k == reflect.Float32, k == reflect.Float64, k == reflect.String:
		m.quoted = slices.Contains(strings.Split(options, ","), "string")
	}
	if m.quoted {
		m.alone = sync.OnceValue(func() reflect.Type {
			return reflect.StructOf([]reflect.StructField{{Name: "F", Type: t, Tag: `json:"f,string"`}})
		})
	}
	return m
}

// memberName returns what a field's tag says. The name is empty if there is none, or one that encoding/json does not take. It
// is not ok if encoding/json does not look at the field.
func memberName(f reflect.StructField) (name, options string, ok bool) {
	t := f.Type
	if f.Anonymous && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	tag := f.Tag.Get("json")
	if tag == "-" || !f.IsExported() && (!f.Anonymous || t.Kind() != reflect.Struct) {
		return "", "", false
	}
	name, options, _ = strings.Cut(tag, ",")
	for _, r := range name {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", r) {
			return "", options, true
		}
	}
	return name, options, true
}
