package apierror

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"time"
)

const storedVersion = 1

// stored is the form of an error that [Error.MarshalBinary] writes.
type stored struct {
	Version      int
	Code         Code
	Type         Type
	Status       int
	Message      string
	Param        string            `json:",omitempty"`
	RequestID    string            `json:",omitempty"`
	RetryAfter   time.Duration     `json:",omitempty"`
	NotRetryable bool              `json:",omitempty"`
	DocURL       string            `json:",omitempty"`
	Fields       []Field           `json:",omitempty"`
	Metadata     map[string]string `json:",omitempty"`
	Header       http.Header       `json:",omitempty"`
	Problem      *storedProblem    `json:",omitempty"`
	Origin       *storedOrigin     `json:",omitempty"` // of a parsed error
}

type storedProblem struct {
	Type    string         `json:",omitempty"`
	Title   string         `json:",omitempty"`
	Members []storedMember `json:",omitempty"`
}

type storedMember struct {
	Name  string
	Value json.RawMessage
}

type storedOrigin struct {
	Object                     bool   `json:",omitempty"`
	Method, Scheme, Host, Path string `json:",omitempty"`
}

// MarshalBinary implements [encoding.BinaryMarshaler], for stores that replay an error. It
// keeps everything but the cause, which was logged when the error was first sent. Bytes
// that are not UTF-8 are replaced, as in a response.
func (e *Error) MarshalBinary() ([]byte, error) {
	c, d := e.copy(), e.details()
	s := stored{
		Version:      storedVersion,
		Code:         c.code,
		Type:         c.typ,
		Status:       c.status,
		Message:      c.message,
		Param:        c.param,
		RequestID:    c.requestID,
		RetryAfter:   c.retryAfter,
		NotRetryable: c.notRetryable,
		DocURL:       d.docURL,
		Fields:       d.fields,
		Metadata:     d.metadata,
		Header:       d.header,
	}
	if p := d.problem; p != nil {
		s.Problem = &storedProblem{Type: p.typ, Title: p.title}
		for _, m := range p.members {
			s.Problem.Members = append(s.Problem.Members, storedMember{m.name, m.value})
		}
	}
	if o := d.origin; o.parsed {
		s.Origin = &storedOrigin{o.object, o.method, o.scheme, o.host, o.path}
	}
	return json.Marshal(s)
}

// UnmarshalBinary implements [encoding.BinaryUnmarshaler] for the result of MarshalBinary. If it
// returns an error, e has not changed.
func (e *Error) UnmarshalBinary(data []byte) error {
	var s stored
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("apierror: a stored error cannot be read: %w", err)
	}
	if s.Version != storedVersion {
		return fmt.Errorf("apierror: a stored error cannot be read: its version is %d", s.Version)
	}
	*e = Error{
		code:         s.Code,
		typ:          s.Type,
		status:       s.Status,
		message:      s.Message,
		param:        s.Param,
		requestID:    s.RequestID,
		retryAfter:   s.RetryAfter,
		notRetryable: s.NotRetryable,
	}
	d := details{docURL: s.DocURL}
	if len(s.Fields) > 0 {
		d.fields = s.Fields
	}
	if len(s.Metadata) > 0 {
		d.metadata = s.Metadata
	}
	if len(s.Header) > 0 {
		d.header = s.Header
	}
	if p := s.Problem; p != nil {
		d.problem = &problem{typ: p.Type, title: p.Title}
		for _, m := range p.Members {
			d.problem.members = append(d.problem.members, problemMember{m.Name, m.Value})
		}
	}
	if o := s.Origin; o != nil {
		d.origin = origin{true, o.Object, o.Method, o.Scheme, o.Host, o.Path}
	}
	if !reflect.DeepEqual(d, noDetails) {
		e.more = &d
	}
	return nil
}
