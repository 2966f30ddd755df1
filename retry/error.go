package retry

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/seawall-go/seawall/internal/plain"
)

// An Error is the error of a call that ended without a response. [Transport] and [Do]
// return no other error, except that a Transport returns Base's error for a request
// without a URL.
type Error struct {
	// Attempts has the last 100 attempts of the call. It is empty if no attempt was made,
	// for example because the circuit was open.
	Attempts []Attempt

	// Reason is why there was no further attempt.
	Reason Reason

	what   string  // such as "POST api.example.com: "; empty in Do
	text   string  // of errs, without secrets
	errs   []error // see Unwrap
	causes []error // the errors that ended the call, except the last attempt's
}

// newError returns the error of a call. causes are the errors that ended it in addition
// to the last attempt's error. Nil causes are ignored.
func newError(req *http.Request, attempts []Attempt, reason Reason, causes ...error) *Error {
	e := &Error{Attempts: attempts, Reason: reason}
	e.causes = slices.DeleteFunc(causes, func(err error) bool { return err == nil })
	e.errs = unwrapped(attempts, e.causes)
	texts := make([]string, len(e.errs))
	for i, err := range e.errs {
		texts[i] = textOf(err, req)
	}
	e.text = strings.Join(texts, "; ")
	if req != nil {
		e.what = methodOf(req) + " " + plain.Text(req.URL.Host, maxText) + ": "
	}
	return e
}

// unwrapped returns the last attempt's error, and the causes that this error does not
// wrap. If a cause interrupted the last attempt, it adds the error of the attempt before,
// which tells more about the server.
func unwrapped(attempts []Attempt, causes []error) (errs []error) {
	var last error
	n := len(attempts)
	if n > 0 {
		last = attempts[n-1].Err
		errs = append(errs, last)
	}
	interrupted := false
	for _, cause := range causes {
		interrupted = interrupted || errors.Is(last, cause)
		if !slices.ContainsFunc(errs, func(err error) bool { return errors.Is(err, cause) }) {
			errs = append(errs, cause)
		}
	}
	if interrupted && n > 1 {
		errs = append(errs, attempts[n-2].Err)
	}
	return errs
}

// Error returns one line with the method and the host, without the userinfo and query of
// the URL.
func (e *Error) Error() string {
	text := "retry: " + e.what + string(e.Reason)
	if n := e.made(); n > 0 {
		text += fmt.Sprintf(" (attempt %d)", n)
	}
	if e.text != "" {
		text += ": " + e.text
	}
	return text
}

// made returns the number of attempts.
func (e *Error) made() int {
	if len(e.Attempts) == 0 {
		return 0
	}
	return e.Attempts[len(e.Attempts)-1].Number
}

// Unwrap returns the last attempt's error and the other errors that ended the call: the
// context's error and its cause, or a [*CircuitOpenError]. If the context interrupted the
// last attempt, Unwrap also returns the error of the attempt before it.
func (e *Error) Unwrap() []error { return e.errs }

// Timeout reports whether the call ran out of time. [url.Error.Timeout] calls it.
func (e *Error) Timeout() bool {
	errs := e.causes
	if len(errs) == 0 {
		errs = e.errs
	}
	for _, err := range errs {
		if t, ok := errors.AsType[interface {
			error
			Timeout() bool
		}](err); ok && t.Timeout() {
			return true
		}
	}
	return false
}

// LogValue returns a group of the reason, the number of attempts, and the error's text.
func (e *Error) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("reason", string(e.Reason)),
		slog.Int("attempts", e.made()),
		slog.String("error", e.text))
}

// maxText is the longest text, in bytes, that is taken from an error or a request.
const maxText = 500

// textOf returns the text of err as one line, without the userinfo and query of any URL in
// it. It leaves out this package's prefix.
func textOf(err error, req *http.Request) string {
	text := strings.TrimPrefix(err.Error(), "retry: ")
	if req != nil && req.URL.RawQuery != "" {
		// plain.RedactURLs does not find the query of a URL without a host, or the end of
		// a query that is not escaped. A url.Error has the query in quoted form.
		query := "?" + req.URL.RawQuery
		quoted := strconv.Quote(query)
		text = strings.NewReplacer(query, "?…", quoted[1:len(quoted)-1], "?…").Replace(text)
	}
	return plain.Text(plain.RedactURLs(text), maxText)
}

func methodOf(req *http.Request) string {
	return plain.Text(cmp.Or(req.Method, http.MethodGet), maxText)
}
