package retry

import (
	"cmp"
	"log/slog"

	"github.com/seawall-go/seawall/internal/plain"
	"github.com/seawall-go/seawall/internal/retryhint"
)

// log writes a line. If reason is empty, the line says that the last attempt is retried.
// Otherwise it says that the call failed. cause is the error that ended the call in
// addition to the attempt's own error. The error in a response is not logged, since its
// text may contain a part of the body.
func (c *call) log(reason Reason, cause error) {
	logger := cmp.Or(c.t.Logger, slog.Default())
	ctx, a := c.req.Context(), c.last()
	level, message := slog.LevelInfo, "retry: retrying request"
	if reason != "" {
		level, message = levelOf(reason, a), "retry: request failed"
	}
	if !logger.Enabled(ctx, level) {
		return
	}
	attrs := append(make([]slog.Attr, 0, 10),
		slog.String("method", methodOf(c.req)),
		slog.String("host", plain.Text(c.req.URL.Host, maxText)))
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
	if reason == "" {
		attrs = append(attrs, slog.Duration("delay", a.Delay))
	} else {
		attrs = append(attrs, slog.String("reason", string(reason)))
	}
	if cause == nil && a.Status == 0 {
		cause = a.Err
	}
	if cause != nil {
		attrs = append(attrs, slog.String("error", textOf(cause, c.req)))
	}
	logger.LogAttrs(ctx, level, message, attrs...)
}

// levelOf returns Warn for a call that failed because of the server or the network, and
// Info for any other.
func levelOf(reason Reason, last Attempt) slog.Level {
	if reason != ReasonCanceled && (last.Status == 0 || retryhint.Retryable(last.Status)) {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}
