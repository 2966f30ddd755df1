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
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/seawall-go/seawall/internal/reqid"
	"github.com/seawall-go/seawall/internal/retryhint"
)

const (
	maxParsed  = 64 << 10 // bytes of a body that Parse reads
	maxDrained = 64 << 10 // bytes that it reads beyond, to leave the connection reusable
	maxSnippet = 200      // runes of a foreign body that go into the message
)

// origin is where a parsed error came from. It is zero for an error that was made here.
type origin struct {
	parsed bool
	object bool // the body held an error object

	method, scheme, host, path string // of the request; method is "" where it is not known
}

// originOf keeps of the request's URL what is no secret: not userinfo, query or fragment.
func originOf(resp *http.Response) origin {
	o := origin{parsed: true}
	if r := resp.Request; r != nil && r.URL != nil {
		o.method = cmp.Or(r.Method, http.MethodGet)
		o.scheme, o.host, o.path = r.URL.Scheme, r.URL.Host, r.URL.EscapedPath()
	}
	return o
}

// line is "POST https://api.example.com/v1/resources: ".
func (o *origin) line() string {
	if o.method == "" {
		return ""
	}
	target := o.path
	if o.host != "" {
		target = o.scheme + "://" + o.host + target
	}
	return oneLine(o.method+" "+target, maxMessage) + ": "
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
		return &Error{typ: TypeAPI, message: "There was no response.", more: &details{origin: origin{parsed: true}}}
	}
	if resp.StatusCode < 400 {
		return nil
	}
	body, cause := readBody(resp)
	e := &Error{
		typ:          typeOfStatus(resp.StatusCode),
		status:       resp.StatusCode,
		notRetryable: retryhint.Refused(resp.Header) || resp.StatusCode > 599,
		cause:        cause,
		more:         &details{origin: originOf(resp)},
	}
	if resp.Header["Retry-After"] != nil {
		e.retryAfter, _ = retryhint.After(resp.Header, time.Now())
	}

	text, readable := decoded(resp.Header, body)
	var bodyID string
	if readable {
		bodyID = e.readObject(resp.Header, text)
	}
	if e.message == "" {
		e.message = foreignMessage(resp, text, readable && !e.FromServer())
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
	size := resp.ContentLength
	if size <= 0 || size > maxParsed || isHead(resp.Request) { // as good as unknown
		size = bytes.MinRead
	}
	var b bytes.Buffer
	b.Grow(int(size) + bytes.MinRead) // which ReadFrom wants to see the end
	_, err = b.ReadFrom(io.LimitReader(resp.Body, maxParsed))
	if err == nil && b.Len() == maxParsed {
		_, _ = io.CopyN(io.Discard, resp.Body, maxDrained)
	}
	_ = resp.Body.Close()
	body = b.Bytes()
	resp.Body = &reread{*bytes.NewReader(body)}
	return body, err
}

func isHead(r *http.Request) bool { return r != nil && r.Method == http.MethodHead }

// reread is a body that was read already.
type reread struct{ bytes.Reader }

func (*reread) Close() error { return nil }

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
	text = bytes.TrimLeft(bytes.TrimPrefix(text, []byte("\ufeff")), " \t\r\n")
	if !isObject(text) {
		return ""
	}
	if !json.Valid(text) {
		text = firstValue(text) // a proxy may have added something
	}
	top := objectIn(text)
	if !isObject(top.error) && isProblem(h) {
		return e.readProblem(&top)
	}
	object := objectIn(top.error)
	code, typ := stringOf(object.code), stringOf(object.typ)
	e.message = stringOf(object.message)
	if code == "" && typ == "" {
		return stringOf(object.requestID)
	}
	e.more.origin.object = true
	e.code = Code(code)
	if d := builtin.find(e.code); d != nil {
		e.typ = d.Type
	}
	e.typ = cmp.Or(Type(typ), e.typ)
	return e.readMembers(&object)
}

// firstValue is the JSON value that text begins with, nil if it begins with none.
func firstValue(text []byte) (value json.RawMessage) {
	if json.NewDecoder(bytes.NewReader(text)).Decode(&value) != nil {
		return nil
	}
	return value
}

func isObject(text []byte) bool { return len(text) > 0 && text[0] == '{' }

func isProblem(h http.Header) bool {
	mediaType, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	return mediaType == "application/problem+json"
}

// readProblem reads RFC 9457's form. Its type is a link, so ours follows from the code.
func (e *Error) readProblem(top *object) (requestID string) {
	e.message = cmp.Or(stringOf(top.detail), stringOf(top.title))
	e.code = Code(stringOf(top.code))
	e.more.origin.object = e.code != "" || e.message != ""
	if d := builtin.find(e.code); d != nil {
		e.typ = d.Type
	}
	if link := stringOf(top.typ); link != "about:blank" {
		e.more.docURL = link
	}
	return cmp.Or(e.readMembers(top), stringOf(top.instance))
}

// readMembers reads what both forms have.
func (e *Error) readMembers(o *object) (requestID string) {
	e.param = stringOf(o.param)
	e.more.docURL = cmp.Or(stringOf(o.docURL), e.more.docURL)
	e.more.fields = fieldsIn(o.errors)
	e.more.metadata = metadataIn(o.metadata)
	return stringOf(o.requestID)
}

// object holds, as JSON, the members that matter of an error object, of the object around it, or of problem details. Of
// duplicates it is the last, as with encoding/json, but a name in another case is another member.
type object struct {
	error, typ, code, message, param, requestID, docURL, errors, metadata, detail, title, instance []byte
}

func objectIn(text []byte) (o object) {
	for key, value := range children(text, '{') {
		if bytes.IndexByte(key, '\\') >= 0 { // the same name in another spelling
			key = strconv.AppendQuote(nil, stringOf(key))
		}
		switch string(key) {
		case `"error"`:
			o.error = value
		case `"type"`:
			o.typ = value
		case `"code"`:
			o.code = value
		case `"message"`:
			o.message = value
		case `"param"`:
			o.param = value
		case `"request_id"`:
			o.requestID = value
		case `"doc_url"`:
			o.docURL = value
		case `"errors"`:
			o.errors = value
		case `"metadata"`:
			o.metadata = value
		case `"detail"`:
			o.detail = value
		case `"title"`:
			o.title = value
		case `"instance"`:
			o.instance = value
		}
	}
	return o
}

func fieldsIn(text []byte) (fields []Field) {
	left := maxFields
	for _, value := range children(text, '[') {
		if left--; left < 0 {
			break
		}
		if isObject(value) {
			o := objectIn(value)
			fields = append(fields, Field{Code(stringOf(o.code)), stringOf(o.param), stringOf(o.message)})
		}
	}
	return fields
}

func metadataIn(text []byte) (metadata map[string]string) {
	if text == nil {
		return nil
	}
	values := make(map[string][]byte)
	for key, value := range children(text, '{') {
		values[stringOf(key)] = value
	}
	for _, k := range slices.Sorted(maps.Keys(values)) {
		if values[k][0] == '"' && len(metadata) < maxMetadata {
			if metadata == nil {
				metadata = make(map[string]string)
			}
			metadata[k] = stringOf(values[k])
		}
	}
	return metadata
}

// stringOf is a JSON string's value; "" for anything else.
func stringOf(raw []byte) string {
	if len(raw) < 2 || raw[0] != '"' {
		return ""
	}
	return string(unescaped(raw))
}

// unescaped is the value of a JSON string that encoding/json has seen: as a rule a part of raw.
func unescaped(raw []byte) []byte {
	if text := raw[1 : len(raw)-1]; bytes.IndexByte(text, '\\') < 0 && utf8.Valid(text) {
		return text
	}
	return []byte(unquoted(raw))
}

func unquoted(raw []byte) (s string) {
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
	b.Grow(min(len(text), maxSnippet))
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
