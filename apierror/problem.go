package apierror

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
)

// problem is what an error says in RFC 9457's form alone.
type problem struct {
	typ, title string
	members    []problemMember
}

type problemMember struct {
	name  string
	value []byte // JSON
}

// WithProblemType returns a copy with another "type" and "title" in the problem details that
// [Renderer.Problem] sends: a URI that identifies a kind of problem, as the registry of RFC 9457,
// section 4.2, and other specifications define them, and its name. Without it the type is the
// error's documentation, or about:blank. An empty title is the catalog's message of the code. An
// error object has neither.
func (e *Error) WithProblemType(uri, title string) *Error {
	c := e.copy()
	p := c.ownProblem()
	p.typ, p.title = uri, title
	return c
}

// WithProblemMember returns a copy with one more member in the problem details that
// [Renderer.Problem] sends (RFC 9457, section 3.2). An error object does not have it. The value is
// what encoding/json makes of it now, so it may change afterwards. A value that encoding/json
// refuses is left out, and so is a member that every such answer may have, such as "status" or
// "code". Used again with the same name it replaces the value.
func (e *Error) WithProblemMember(name string, value any) *Error {
	c := e.copy()
	text, err := json.Marshal(value)
	if err != nil || problemHas(name) {
		return c
	}
	p := c.ownProblem()
	p.members = slices.DeleteFunc(slices.Clone(p.members), func(m problemMember) bool { return m.name == name })
	text = bytes.ToValidUTF8(text, []byte(`\ufffd`)) // that of a json.RawMessage may not be
	p.members = append(p.members, problemMember{name, escapeDelete(text)})
	return c
}

// problemHas reports whether appendProblem writes a member of that name itself.
func problemHas(name string) bool {
	switch name {
	case "type", "title", "status", "detail", "instance", "code", "param", "request_id", "doc_url", "errors", "metadata":
		return true
	}
	return false
}

// ownProblem gives e, a copy that nobody else has seen, a problem that may be written to.
func (e *Error) ownProblem() *problem {
	d := e.ownDetails()
	p := new(problem)
	if d.problem != nil {
		*p = *d.problem
	}
	d.problem = p
	return p
}

// appendProblem appends RFC 9457's problem details. Without a type of the error's own, type is the
// documentation of the code; instance is the request's id, a relative URI reference (RFC 9457,
// section 3.1.5).
func appendProblem(b []byte, e *Error, title string) []byte {
	own := e.details().problem
	if own == nil {
		own = &problem{}
	}
	b = append(b, `{"type":`...)
	b = appendString(b, cmp.Or(own.typ, e.DocURL(), "about:blank"), maxURL)
	b = append(b, `,"title":`...)
	b = appendString(b, title, maxTitle)
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(e.status), 10)
	b = append(b, `,"detail":`...)
	b = appendString(b, e.message, maxMessage)
	b = append(b, `,"instance":`...)
	b = appendString(b, e.requestID, maxParam)
	b = append(b, `,"code":`...)
	b = appendString(b, string(e.code), maxCode)
	b = appendMembers(b, e)
	for _, m := range own.members {
		before := len(b)
		b = append(b, ',')
		b = appendString(b, m.name, maxParam)
		b = append(b, ':')
		b = append(b, m.value...)
		if len(b) > maxBody {
			b = b[:before]
		}
	}
	return append(b, "}\n"...)
}

// title is RFC 9457's "title": a text that does not change from occurrence to occurrence.
func (rd *Renderer) title(e *Error) string {
	if own := e.details().problem; own != nil && own.typ != "" {
		if own.title != "" {
			return own.title
		}
	} else if e.DocURL() == "" { // the type is about:blank (section 4.2.1)
		return http.StatusText(e.status)
	}
	if d, ok := rd.catalog().Lookup(e.code); ok {
		return d.Message
	}
	return string(e.code)
}
