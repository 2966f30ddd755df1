package retry

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/seawall-go/seawall/internal/plain"
)

// Error is the error of a call that ended without a response: of every error that [Transport]
// and [Do] return. It unwraps to the last attempt's error and, where something else ended the
// call, to that: the context's error and its cause, or a [*CircuitOpenError]. Where the context
// interrupted an attempt, the error of the one before it is there too.
type Error struct {
	// Attempts are those that were made, in order, the last 100 at most; none where the first
	// one was refused.
	Attempts []Attempt
	// Reason is why there was no further one.
	Reason Reason

	what string // "POST api.example.com"
	text string // of the errors, without secrets
	errs []error
	ends []error // what ended the call, apart from the last attempt
}

// newError makes the error of a call that ended for reason; ends are the errors that ended it,
// apart from the last attempt's.
func newError(req *http.Request, attempts []Attempt, reason Reason, ends ...error) *Error {
	e := &Error{Attempts: attempts, Reason: reason}
	if len(attempts) > 0 {
		e.errs = append(e.errs, attempts[len(attempts)-1].Err)
	}
	last, interrupted := e.errs, false // interrupted: the last attempt ended by what ended the call, and says nothing else
	for _, err := range ends {
		if err == nil {
			continue
		}
		e.ends = append(e.ends, err)
		interrupted = interrupted || isAny(last, err)
		if !isAny(e.errs, err) {
			e.errs = append(e.errs, err)
		}
	}
	if n := len(attempts); interrupted && n > 1 {
		e.errs = append(e.errs, attempts[n-2].Err)
	}
	var texts []string
	for _, err := range e.errs {
		texts = append(texts, textOf(err, req))
	}
	e.text = strings.Join(texts, "; ")
	if req != nil {
		e.what = methodOf(req) + " " + plain.Text(req.URL.Host, maxText) + ": "
	}
	return e
}

// isAny tells whether one of errs is, or wraps, err.
func isAny(errs []error, err error) bool {
	for _, e := range errs {
		if errors.Is(e, err) {
			return true
		}
	}
	return false
}

// Error is one line. It names the method and the host, but neither userinfo nor query of the URL.
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

// made is the number of attempts.
func (e *Error) made() int {
	if len(e.Attempts) == 0 {
		return 0
	}
	return e.Attempts[len(e.Attempts)-1].Number
}

// Unwrap returns the last attempt's error, and what else ended the call; where that interrupted
// the attempt, also the error of the one before it.
func (e *Error) Unwrap() []error { return e.errs }

// Timeout tells whether the call ended for want of time, as [url.Error.Timeout] asks.
func (e *Error) Timeout() bool {
	errs := e.ends
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

// LogValue is a group of reason, attempts and error.
func (e *Error) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("reason", string(e.Reason)),
		slog.Int("attempts", e.made()),
		slog.String("error", e.text))
}

// maxText bounds what an error says.
const maxText = 500

// textOf returns the text of err as one line, without the userinfo and query of any URL in it.
func textOf(err error, req *http.Request) string {
	text := err.Error()
	if req != nil && req.URL.RawQuery != "" {
		// Of a URL without a host, too. And before plain.RedactURLs, which cannot know where a
		// query ends that is not escaped. A url.Error quotes it.
		query := "?" + req.URL.RawQuery
		quoted := strconv.Quote(query)
		text = strings.NewReplacer(query, "?…", quoted[1:len(quoted)-1], "?…").Replace(text)
	}
	return plain.Text(plain.RedactURLs(text), maxText)
}

func methodOf(req *http.Request) string {
	if req.Method == "" {
		return http.MethodGet
	}
	return plain.Text(req.Method, maxText)
}
