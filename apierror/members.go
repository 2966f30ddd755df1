package apierror

import (
	"reflect"
	"slices"
	"strings"
	"sync"
	"unicode"
)

// members are the members of a JSON object that encoding/json reads into a struct.
type members struct {
	list          []member
	exact, folded map[string]int // index in list
}

type member struct {
	name   []byte
	shape  func() *shape
	quoted bool                // has the option ,string
	alone  func() reflect.Type // a struct with nothing but the field, tagged json:"f,string"
	lost   bool                // encoding/json cannot set an embedded pointer that leads to it

	index     []int
	tagged    bool
	ambiguous bool
}

// find returns the index of the member that encoding/json reads a name into: the one with
// that name, or else the first whose name differs only in case. It is -1 if there is none.
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
			if next <= r { // the first of the runes that r can be folded to
				return next
			}
			r = next
		}
	}, s)
}

// membersOf resolves embedded structs and tags as encoding/json does. Of several fields with one
// name, the least nested counts, then the one whose tag has the name. If there are still several,
// none counts.
func membersOf(t reflect.Type) *members {
	all := make(map[string]member)
	visited := make(map[reflect.Type]bool)
	for level := []embedded{{t: t}}; len(level) > 0; {
		here := make(map[string]member)
		var deeper []embedded
		for _, e := range level {
			if !visited[e.t] {
				visited[e.t] = true
				deeper = e.collect(here, deeper)
			}
		}
		for name, m := range here {
			if _, hidden := all[name]; !hidden {
				all[name] = m
			}
		}
		level = deeper
	}
	return newMembers(all)
}

// embedded is a struct whose fields are members of the outermost one.
type embedded struct {
	t     reflect.Type
	index []int
	lost  bool // encoding/json cannot set the pointer that leads to it
	twice bool // there are several of its type on the level
}

// collect adds the struct's members to those of its level, and returns deeper with the structs that
// it embeds.
func (e embedded) collect(level map[string]member, deeper []embedded) []embedded {
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
		if name == "" && f.Anonymous && ft.Kind() == reflect.Struct {
			if j := slices.IndexFunc(deeper, func(d embedded) bool { return d.t == ft }); j >= 0 {
				deeper[j].twice = true
			} else {
				lost := e.lost || !f.IsExported() && f.Type.Kind() == reflect.Pointer
				deeper = append(deeper, embedded{t: ft, index: index, lost: lost})
			}
			continue
		}
		m := newMember(f.Type, ft, options)
		m.index, m.tagged, m.lost, m.ambiguous = index, name != "", e.lost, e.twice
		if name == "" {
			name = f.Name
		}
		switch other, found := level[name]; {
		case !found, m.tagged && !other.tagged:
			level[name] = m
		case m.tagged == other.tagged:
			other.ambiguous = true
			level[name] = other
		}
	}
	return deeper
}

func newMembers(all map[string]member) *members {
	var names []string
	for name, m := range all {
		if !m.ambiguous {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int { return slices.Compare(all[a].index, all[b].index) })
	ms := &members{exact: make(map[string]int), folded: make(map[string]int)}
	for i, name := range names {
		m := all[name]
		m.name = []byte(name)
		ms.list = append(ms.list, m)
		ms.exact[name] = i
		if _, taken := ms.folded[foldCase(name)]; !taken {
			ms.folded[foldCase(name)] = i
		}
	}
	return ms
}

// newMember returns the member of a field of the type t. ft is t, or what t points to.
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

// memberName returns the name and the options of a field's tag. The name is empty if there is none,
// or one that encoding/json does not accept. ok reports whether encoding/json looks at the field.
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
