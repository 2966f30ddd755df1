package retry

import (
	"log/slog"
	"time"

	"github.com/seawall-go/seawall/internal/plain"
	"github.com/seawall-go/seawall/internal/retryhint"
)

// An Event is what [Transport.Observe] is told: every attempt when it has ended, every call when it has, and every change of
// a circuit, from the call that caused it.
type Event struct {
	Kind   Kind
	Method string
	Host   string // as in the URL; that of a CircuitOpenError always has a port
	Group  string // whose circuit, bucket and holds the call uses: see [Transport.Group]

	// Attempt is the one that ended; of a call, the last one, zero if there was none.
	Attempt Attempt

	// Reason is why the call ended.
	Reason Reason

	// Elapsed is how long the call took, waits included, up to the response's header.
	Elapsed time.Duration

	// From and To are the circuit's states.
	From, To State
}

// An Kind says what an [Event] tells.
type Kind string

// The kinds of event, with the fields that are set beside Method and Host.
const (
	KindAttempt Kind = "attempt" // Attempt
	KindCall    Kind = "call"    // Attempt, Reason, Elapsed
	KindCircuit Kind = "breaker" // From, To
)

func (c *call) observe(e Event) {
	if c.t.Observe == nil {
		return
	}
	e.Method, e.Host, e.Group = methodOf(c.req), plain.Text(c.req.URL.Host, maxText), plain.Text(c.to.group(), maxText)
	c.t.Observe(c.req.Context(), e)
}

// log writes a line for the last attempt, which failed, or for the call, which ended in failure: at level Warn when the call is
// lost to a fault of the server or the network, else at Info. Of a response it has the status, code and request id: the error's
// own text may hold a piece of the body. end is what ended the call, if it was not the attempt.
func (c *call) log(reason Reason, end error) {
	req, a := c.req, c.last()
	level, message := slog.LevelInfo, "retrying request"
	if reason != "" {
		message = "request failed"
		if reason != ReasonCanceled && (a.Status == 0 || retryhint.Retryable(a.Status)) {
			level = slog.LevelWarn
		}
	}
	logger := c.t.Logger
	if logger == nil {
		logger = slog.Default()
	}
	ctx := req.Context()
	if !logger.Enabled(ctx, level) {
		return
	}
	a.parse(req)
	attrs := make([]slog.Attr, 0, 9)
	attrs = append(attrs, slog.String("method", methodOf(req)), slog.String("host", plain.Text(req.URL.Host, maxText)))
	if a.Number > 0 {
		attrs = append(attrs, slog.Int("attempt", a.Number))
	}
	if a.Status != 0 {
		attrs = append(attrs, slog.Int("status", a.Status))
	}
	if a.Code != "" {
		attrs = append(attrs, slog.String("code", string(a.Code)))
	}
	if a.RequestID != "" {
		attrs = append(attrs, slog.String("request_id", a.RequestID))
	}
	if a.RetryAfter > 0 {
		attrs = append(attrs, slog.Duration("retry_after", a.RetryAfter))
	}
	if reason != "" {
		attrs = append(attrs, slog.String("reason", string(reason)))
	} else {
		attrs = append(attrs, slog.Duration("delay", a.Delay))
	}
	if end == nil && a.Status == 0 {
		end = a.Err
	}
	if end != nil {
		attrs = append(attrs, slog.String("error", textOf(end, req)))
	}
	logger.LogAttrs(ctx, level, message, attrs...)
}
