package apierror

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"slices"

	"github.com/seawall-go/seawall/internal/plain"
	"github.com/seawall-go/seawall/internal/reqstate"
)

// LogValue returns a group of code, type, status, message, param, request_id and cause. It
// implements [slog.LogValuer].
func (e *Error) LogValue() slog.Value {
	message := slog.String("message", oneLine(e.Message(), maxMessage))
	return slog.GroupValue(slices.Insert(e.attrs(plain.ErrorText), 3, message)...)
}

// attrs returns the attributes of a log record. redact returns the text of the cause.
func (e *Error) attrs(redact func(error) string) []slog.Attr {
	attrs := make([]slog.Attr, 0, 6)
	attrs = append(attrs,
		slog.String("code", oneLine(string(e.Code()), maxCode)),
		slog.String("type", oneLine(string(e.Type()), maxCode)),
		slog.Int("status", e.Status()))
	if p := e.Param(); p != "" {
		attrs = append(attrs, slog.String("param", oneLine(p, maxParam)))
	}
	if id := e.RequestID(); id != "" {
		attrs = append(attrs, slog.String("request_id", oneLine(id, maxParam)))
	}
	if cause := e.Cause(); cause != nil {
		attrs = append(attrs, slog.String("cause", oneLine(redact(cause), maxMessage)))
	}
	return attrs
}

// level returns the level of the record of an error that is sent. A 5xx without a cause,
// such as that of an overloaded server, is in the access log already, and there may be very
// many of them.
func level(e *Error) slog.Level {
	switch {
	case e.status == http.StatusInternalServerError:
		return slog.LevelError
	case e.status < 500 || e.cause == nil:
		return slog.LevelDebug
	default:
		return slog.LevelWarn
	}
}

// log writes the record of an error. Panics and other errors that are already logged get
// none.
func (rd *Renderer) log(ctx context.Context, e *Error, level slog.Level, msg string) {
	_, recorded := e.cause.(reqstate.Recorded)
	if recorded || isPanic(e) || !rd.logger().Enabled(ctx, level) {
		return
	}
	redact := plain.ErrorText
	if rd.Redact != nil {
		redact = func(cause error) string {
			text := guarded(ctx, rd, "Redact", func() string { return rd.Redact(cause) })
			return cmp.Or(text, "(redacted)")
		}
	}
	rd.logger().LogAttrs(ctx, level, msg, e.attrs(redact)...)
}

// logUnsent writes the record of an error that could not be written to the connection.
func (rd *Renderer) logUnsent(ctx context.Context, e *Error, err error) {
	rd.logger().LogAttrs(ctx, slog.LevelDebug, "apierror: the error could not be sent",
		slog.String("request_id", e.requestID), slog.String("error", oneLine(plain.ErrorText(err), maxMessage)))
}

// guarded calls a hook of the Renderer. If it panics, that is logged, and the result is the zero
// value.
func guarded[T any](ctx context.Context, rd *Renderer, hook string, call func() T) (result T) {
	defer func() {
		if v := recover(); v != nil {
			rd.logger().LogAttrs(ctx, slog.LevelError, "apierror: a hook of the Renderer panicked",
				slog.String("hook", hook), slog.String("panic", plain.Text(plain.PanicText(v), maxMessage)))
		}
	}()
	return call()
}

func (rd *Renderer) logger() *slog.Logger { return cmp.Or(rd.Logger, slog.Default()) }
