package apierror

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/seawall-go/seawall/internal/reqid"
	"github.com/seawall-go/seawall/internal/retryafter"
)

const (
	maxParsed  = 64 << 10 // bytes of a body that Parse reads
	maxDrained = 64 << 10 // bytes that it reads beyond, to leave the connection reusable
	maxSnippet = 200      // runes of a foreign body that go into the message
)

// origin is where a parsed error came from.
type origin struct {
	request string // "POST https://api.example.com/v1/resources: "
	object  bool   // the body held an error object
}

// Parse turns a client's response into a typed error. It returns nil for a status under 400 and leaves that body alone.
// Otherwise the result is an *Error, whatever the body is:
//
//   - an error object, or RFC 9457's problem details: its code, type, message, param and so on, verbatim, also unknown ones.
//     Members of the wrong JSON type are skipped;
//   - anything else (HTML from a proxy, a truncated body, nothing): no code, the type that fits the status, and a message with
//     the beginning of the body as one line. [Error.FromServer] is false then.
//
// Status is always the response's own. The request id is that of the Request-Id header, else the body's, else X-Request-Id.
//
// Parse reads at most 64 KiB into the error, closes the body, and puts a new one with what it read into resp.Body. How long it may
// take is the matter of the request's context.
//
//	resp, err := client.Do(req)
//	if err == nil {
//		err = apierror.Parse(resp)
//	}
func Parse(resp *http.Response) error {
	if resp == nil {
		return &Error{typ: TypeAPI, message: "There was no response.", retryable: true, origin: &origin{}}
	}
	if resp.StatusCode < 400 {
		return nil
	}
	body, cause := readBody(resp)
	e := &Error{
		typ:       typeOfStatus(resp.StatusCode),
		status:    resp.StatusCode,
		retryable: retryable(resp),
		cause:     cause,
		origin:    &origin{request: requestLine(resp)},
	}
	e.retryAfter, _ = retryafter.Parse(resp.Header, time.Now())

	text, readable := decoded(resp.Header, body)
	var bodyID string
	if readable {
		bodyID = e.readObject(resp.Header, text)
	}
	if e.message == "" {
		e.message = foreignMessage(resp, text, readable && !e.origin.object)
	}
	e.requestID = oneLine(cmp.Or(headerID(resp.Header, "Request-Id"), bodyID, headerID(resp.Header, "X-Request-Id")), reqid.MaxLen)
	return e
}

// readBody reads what Parse looks at, drains a little more, and leaves what it read in resp.Body.
func readBody(resp *http.Response) (body []byte, err error) {
	if resp.Body == nil {
		resp.Body = http.NoBody
		return nil, nil
	}
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxParsed))
	if err == nil && len(body) == maxParsed {
		_, _ = io.CopyN(io.Discard, resp.Body, maxDrained)
	}
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return body, err
}

// decoded undoes a Content-Encoding that the transport left: that of a caller who asked for it. readable is false where the
// body is not text.
func decoded(h http.Header, body []byte) (text []byte, readable bool) {
	switch strings.ToLower(strings.TrimSpace(h.Get("Content-Encoding"))) {
	case "", "identity":
		return body, true
	case "gzip", "x-gzip":
		zr, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, false
		}
		text, err = io.ReadAll(io.LimitReader(zr, maxParsed))
		return text, err == nil || len(text) > 0
	default:
		return nil, false
	}
}

// readObject fills e from the error object or the problem details in a body, and returns the request id in it.
func (e *Error) readObject(h http.Header, text []byte) (requestID string) {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	var top map[string]json.RawMessage
	if json.NewDecoder(bytes.NewReader(text)).Decode(&top) != nil {
		return ""
	}
	mediaType, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	object := members(top["error"])
	if object == nil && mediaType == "application/problem+json" {
		return e.readProblem(top)
	}
	code, typ := stringOf(object["code"]), stringOf(object["type"])
	e.message = stringOf(object["message"])
	if code == "" && typ == "" {
		return stringOf(object["request_id"])
	}
	e.origin.object = true
	e.code = Code(code)
	if d, ok := builtin.Lookup(e.code); ok {
		e.typ = d.Type
	}
	e.typ = cmp.Or(Type(typ), e.typ)
	return e.readMembers(object)
}

// readProblem reads RFC 9457's form. Its type is a link, so ours follows from the code.
func (e *Error) readProblem(top map[string]json.RawMessage) (requestID string) {
	e.message = cmp.Or(stringOf(top["detail"]), stringOf(top["title"]))
	e.code = Code(stringOf(top["code"]))
	e.origin.object = e.code != "" || e.message != ""
	if d, ok := builtin.Lookup(e.code); ok {
		e.typ = d.Type
	}
	e.docURL = stringOf(top["type"])
	if e.docURL == "about:blank" {
		e.docURL = ""
	}
	return cmp.Or(e.readMembers(top), stringOf(top["instance"]))
}

// readMembers reads what both forms have.
func (e *Error) readMembers(object map[string]json.RawMessage) (requestID string) {
	e.param = stringOf(object["param"])
	e.docURL = cmp.Or(stringOf(object["doc_url"]), e.docURL)
	var list []json.RawMessage
	if raw := object["errors"]; len(raw) > 0 && json.Unmarshal(raw, &list) == nil {
		for _, raw := range list[:min(len(list), maxFields)] {
			if m := members(raw); m != nil {
				e.fields = append(e.fields, Field{Code(stringOf(m["code"])), stringOf(m["param"]), stringOf(m["message"])})
			}
		}
	}
	metadata := members(object["metadata"])
	for _, k := range slices.Sorted(maps.Keys(metadata)) {
		if raw := metadata[k]; raw[0] == '"' && len(e.metadata) < maxMetadata {
			if e.metadata == nil {
				e.metadata = make(map[string]string)
			}
			e.metadata[k] = stringOf(raw)
		}
	}
	return stringOf(object["request_id"])
}

// members are those of a JSON object; nil for anything else.
func members(raw json.RawMessage) (m map[string]json.RawMessage) {
	if len(raw) == 0 || json.Unmarshal(raw, &m) != nil {
		return nil
	}
	return m
}

// stringOf is a JSON string's value; "" for anything else.
func stringOf(raw json.RawMessage) (s string) {
	if len(raw) < 2 || raw[0] != '"' {
		return ""
	}
	if text := raw[1 : len(raw)-1]; bytes.IndexByte(text, '\\') < 0 && utf8.Valid(text) {
		return string(text) // as it is, as a rule: the decoder that made raw of it has seen that it is whole
	}
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// foreignMessage says what is known of a response without an error object, with the beginning of its body on one line.
func foreignMessage(resp *http.Response, text []byte, readable bool) string {
	message := "The server answered " + cmp.Or(http.StatusText(resp.StatusCode), "with an unknown status")
	if s := snippet(text); readable && s != "" {
		return message + ": " + s
	}
	return message + "."
}

// snippet is the beginning of a body as one line of at most 200 runes: white space folded, what does not print left out.
func snippet(text []byte) string {
	var b strings.Builder
	runes, space := 0, false
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		text = text[size:]
		if unicode.IsSpace(r) {
			space = b.Len() > 0
			continue
		}
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			continue
		}
		if runes >= maxSnippet-2 {
			b.WriteRune('…')
			break
		}
		if space {
			b.WriteByte(' ')
			runes++
			space = false
		}
		b.WriteRune(r)
		runes++
	}
	return b.String()
}

// retryable tells whether a client of the specification may repeat the request.
func retryable(resp *http.Response) bool {
	if strings.EqualFold(strings.TrimSpace(resp.Header.Get("X-Should-Retry")), "false") {
		return false
	}
	return retryableStatus(resp.StatusCode)
}

// headerID is a request id from a header, "" where the header is absent or doubled with different values.
func headerID(h http.Header, key string) string {
	values := h[key]
	if len(values) == 0 {
		return ""
	}
	for _, v := range values[1:] {
		if v != values[0] {
			return ""
		}
	}
	return strings.TrimSpace(values[0])
}

// requestLine names the request without what may be secret in its URL: userinfo, query and fragment.
func requestLine(resp *http.Response) string {
	if resp.Request == nil || resp.Request.URL == nil {
		return ""
	}
	u := resp.Request.URL
	target := u.EscapedPath()
	if u.Host != "" {
		target = u.Scheme + "://" + u.Host + target
	}
	return oneLine(cmp.Or(resp.Request.Method, http.MethodGet)+" "+target, maxMessage) + ": "
}
