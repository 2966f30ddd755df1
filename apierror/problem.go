package apierror

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
)

// problem holds the parts of an error that only RFC 9457's problem details have.
type problem struct {
	typ, title string
	members    []problemMember
}

type problemMember struct {
	name  string
	value []byte // JSON
}

// WithProblemType returns a copy with another "type" and "title" in the problem details
// that [Renderer.Problem] sends: a URI that identifies a kind of problem, such as one from
// the registry of RFC 9457, section 4.2, and its name. Without it the type is the link to
// the code's documentation, or about:blank. If title is empty, the catalog's message for
// the code is sent. The error object has neither.
func (e *Error) WithProblemType(uri, title string) *Error {
	c := e.copy()
	p := c.ownProblem()
	p.typ, p.title = uri, title
	return c
}

// WithProblemMember returns a copy with one more member in the problem details that
// [Renderer.Problem] sends (RFC 9457, section 3.2). The error object does not have it. The
// value is encoded now, so later changes to it have no effect. If encoding/json cannot
// encode it, or the name is that of a member that the problem details have anyway, such as
// "status" or "code", it is left out. A second call with the same name replaces the value.
func (e *Error) WithProblemMember(name string, value any) *Error {
	c := e.copy()
	text, err := json.Marshal(value)
	if err != nil || problemHas(name) {
		return c
	}
	p := c.ownProblem()
	p.members = slices.DeleteFunc(slices.Clone(p.members), func(m problemMember) bool { return m.name == name })
	text = bytes.ToValidUTF8(text, []byte(`\ufffd`)) // a json.RawMessage may have invalid UTF-8
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

// ownProblem gives e, a copy that no one else has seen, its own problem, and returns it.
func (e *Error) ownProblem() *problem {
	d := e.ownDetails()
	p := new(problem)
	if d.problem != nil {
		*p = *d.problem
	}
	d.problem = p
	return p
}

// appendProblem appends RFC 9457's problem details. If the error has no problem type, the
// type is the link to the code's documentation, or about:blank. The instance is the
// request's id, a relative URI reference (section 3.1.5).
func appendProblem(b []byte, e *Error, title string) []byte {
	own := e.details().problem
	if own == nil {
		own = &problem{}
	}
	b = append(b, `{"type":`...)
	b = appendString(b, cmp.Or(own.typ, e.DocURL(), "about:blank"), maxURL)
	b = appendMember(b, "title", title, maxTitle)
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(e.status), 10)
	b = appendMember(b, "detail", e.message, maxMessage)
	b = appendMember(b, "instance", e.requestID, maxParam)
	b = appendMember(b, "code", string(e.code), maxCode)
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

// title returns RFC 9457's "title", which is the same for every occurrence of a type.
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
