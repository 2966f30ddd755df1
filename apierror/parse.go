package apierror

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/seawall-go/seawall/internal/reqid"
	"github.com/seawall-go/seawall/internal/retryhint"
)

const (
	maxParsed  = 64 << 10 // bytes of a body that Parse reads
	maxDrained = 64 << 10 // bytes that it reads beyond them, so that the connection can be reused
	maxSnippet = 200      // runes of a foreign body that the message quotes
)

// Parse returns the error in a response that a client has received. It returns nil for a
// status below 400, and leaves that body alone. Otherwise it always returns an *Error,
// which depends on the body:
//
//   - from an error object, or RFC 9457's problem details, it has the code, type, message,
//     param and so on, verbatim, whether they are known or not. Members of the wrong JSON
//     type are skipped;
//   - from anything else, such as a proxy's HTML or a truncated body, it has no code, the
//     type that fits the status, and a message that quotes the beginning of the body on one
//     line. [Error.FromServer] is false.
//
// The error has the status of the response. Its request id is that of the Request-Id
// header, or else that of the body, or else that of the X-Request-Id header.
//
// Parse examines the first 64 KiB of the body, discards at most 64 KiB more so that the
// connection can be reused, and closes the body. It leaves the part that it examined in
// resp.Body. It takes as long as the request's context allows.
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
	id := cmp.Or(headerID(resp.Header, "Request-Id"), bodyID, headerID(resp.Header, "X-Request-Id"))
	e.requestID = oneLine(id, reqid.MaxLen)
	return e
}

// origin is where a parsed error came from. It is zero for an error that was made here.
type origin struct {
	parsed bool
	object bool // the body held an error object

	method, scheme, host, path string // of the request; all are empty if it is unknown
}

// originOf returns the origin of a response, without userinfo, query and fragment of the URL.
func originOf(resp *http.Response) origin {
	o := origin{parsed: true}
	if r := resp.Request; r != nil && r.URL != nil {
		o.method = cmp.Or(r.Method, http.MethodGet)
		o.scheme, o.host, o.path = r.URL.Scheme, r.URL.Host, r.URL.EscapedPath()
	}
	return o
}

// line returns "POST https://api.example.com/v1/resources: ".
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

// readBody reads the part of the body that Parse looks at, and leaves it in resp.Body. It
// discards up to maxDrained bytes more.
func readBody(resp *http.Response) (body []byte, err error) {
	if resp.Body == nil {
		resp.Body = http.NoBody
		return nil, nil
	}
	size := resp.ContentLength
	if size <= 0 || size > maxParsed || isHead(resp.Request) { // not known, or of no use
		size = bytes.MinRead
	}
	var b bytes.Buffer
	b.Grow(int(size) + bytes.MinRead) // ReadFrom needs room to see the end
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

// decoded undoes a Content-Encoding that the caller asked for itself, so the transport left it.
// readable reports whether the body is text.
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

// foreignMessage returns the message for a response without an error object.
func foreignMessage(resp *http.Response, text []byte, readable bool) string {
	message := "The server answered " + cmp.Or(http.StatusText(resp.StatusCode), "with an unknown status")
	if s := snippet(text); readable && s != "" {
		return message + ": " + s
	}
	return message + "."
}

// snippet returns the beginning of a body as one line of at most 200 runes: white space is
// folded, and unprintable characters are dropped.
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

// headerID returns a request id from a header. It is empty if there is none, or if several lines
// disagree.
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
