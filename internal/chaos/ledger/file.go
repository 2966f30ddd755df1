package ledger

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// Read reads a ledger from a file.
func Read(path string) (*Ledger, error) {
	text, err := os.ReadFile(path) //nolint:gosec // G304: the caller chooses the file
	if err != nil {
		return nil, err
	}
	l := new(Ledger)
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(l); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return l, nil
}

// Write writes the ledger to a file. The same ledger gives the same file, with a line for each
// cell.
func (l *Ledger) Write(path string) error {
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(broken(text, "")+"\n"), 0o600)
}

// A value that is not longer than unbroken is one line, and a line of several elements of a list is
// not longer than packed.
const unbroken, packed = 240, 120

// broken returns a JSON value with a line for each field of an object, unless the object fits in
// one line. Short elements of a list share a line. A string or a list of numbers is never broken.
func broken(value json.RawMessage, indent string) string {
	if len(value) <= unbroken && indent != "" || value[0] == '"' || !bytes.ContainsAny(value, `{"`) {
		return spaced(value)
	}
	d := json.NewDecoder(bytes.NewReader(value))
	start, _ := d.Token()
	object := start == json.Delim('{')
	deeper := indent + "\t"
	var out strings.Builder
	column := packed
	for first := true; d.More(); first = false {
		name := ""
		if object {
			token, _ := d.Token()
			quoted, _ := json.Marshal(token)
			name = string(quoted) + ": "
		}
		var element json.RawMessage
		_ = d.Decode(&element) // it is valid: Marshal has made it
		text := name + broken(element, deeper)
		if !first {
			out.WriteByte(',')
		}
		if column += len(text); object || column > packed {
			out.WriteString("\n" + deeper)
			column = len(text)
		} else {
			out.WriteByte(' ')
		}
		out.WriteString(text)
	}
	if object {
		return "{" + out.String() + "\n" + indent + "}"
	}
	return "[" + out.String() + "\n" + indent + "]"
}

// spaced puts a space after each colon and comma outside of strings.
func spaced(value []byte) string {
	out := make([]byte, 0, len(value)+len(value)/4)
	quoted, escaped := false, false
	for _, c := range value {
		out = append(out, c)
		switch {
		case escaped:
			escaped = false
		case c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ':' || c == ','):
			out = append(out, ' ')
		}
	}
	return string(out)
}
