package reference

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode"
	"unicode/utf16"
)

// object is a JSON object whose members keep their order, so a document reads well and is the
// same each time.
type object []property

type property struct {
	name  string
	value any
}

func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, p := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(p.name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(p.value)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// indented returns v as indented JSON that ends in a newline.
func indented(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v) // v is made of strings, numbers and booleans
	return escapeInvisible(b.Bytes())
}

// escapeInvisible escapes the control and format characters that encoding/json leaves in strings,
// so that a terminal, an editor and the page show JSON as it is. U+202E, for one, would show it
// backward.
func escapeInvisible(text []byte) []byte {
	if !bytes.ContainsFunc(text, isInvisible) {
		return text
	}
	var b bytes.Buffer
	for _, r := range string(text) {
		if !isInvisible(r) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.Bytes()
}

// isInvisible reports whether r is a control or format character. A line end is not: JSON has it
// only between tokens.
func isInvisible(r rune) bool {
	return r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r))
}
