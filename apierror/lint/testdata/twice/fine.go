package twice

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"example.com/shop/web"

	"github.com/seawall-go/seawall/apierror"
)

func returns(w http.ResponseWriter, r *http.Request) {
	order, err := db.Load(r.Context(), r.PathValue("id"))
	if err != nil {
		apierror.Write(w, r, err)
		return
	}
	io.WriteString(w, order)
}

func elses(w http.ResponseWriter, r *http.Request) {
	if order, err := db.Load(r.Context(), r.PathValue("id")); err != nil {
		apierror.Write(w, r, err)
	} else {
		io.WriteString(w, order)
	}
}

func switchesOnly(w http.ResponseWriter, r *http.Request) {
	order, err := db.Load(r.Context(), r.PathValue("id"))
	switch {
	case errors.Is(err, io.EOF):
		apierror.Write(w, r, apierror.CodeResourceMissing)
	case err != nil:
		apierror.Write(w, r, err)
	default:
		io.WriteString(w, order)
	}
}

// An adapter for handlers that return errors: what follows runs after every request.
func adapts(next func(http.ResponseWriter, *http.Request) error, observe func(time.Duration)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		if err := next(w, r); err != nil {
			apierror.Write(w, r, err)
		}
		observe(time.Since(start))
		slog.InfoContext(r.Context(), "served", "path", r.URL.Path)
		_ = db.Close()
		if err := r.MultipartForm.RemoveAll(); err != nil {
			slog.Warn("temporary files are left", "error", err)
		}
	})
}

func cleansUp(w http.ResponseWriter, r *http.Request) {
	defer func() { _ = db.Delete(r.Context(), "lock") }()
	if err := db.Delete(r.Context(), "a"); err != nil {
		apierror.Write(w, r, err)
		_ = db.Rollback()
		_, _ = io.Copy(io.Discard, r.Body)
		_ = db.Delete(r.Context(), "b") // the branch of the error says what to do then
		return
	}
}

func checksAgain(w http.ResponseWriter, r *http.Request) {
	err := db.Delete(r.Context(), "a")
	if err != nil {
		apierror.Write(w, r, err)
	}
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
}

func remembers(w http.ResponseWriter, r *http.Request) {
	failed := false
	if err := db.Delete(r.Context(), "a"); err != nil {
		apierror.Write(w, r, err)
		failed = true
	}
	if failed {
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func remembersState(w http.ResponseWriter, r *http.Request) {
	state := 0
	if err := db.Delete(r.Context(), "a"); err != nil {
		apierror.Write(w, r, err)
		state = 1
	}
	switch state {
	case 0:
		w.WriteHeader(http.StatusNoContent)
	}
}

func remembersInField(w http.ResponseWriter, r *http.Request, request *struct{ failed bool }) {
	if err := db.Delete(r.Context(), "a"); err != nil {
		apierror.Write(w, r, err)
		request.failed = true
	}
	if !request.failed {
		w.WriteHeader(http.StatusNoContent)
	}
}

func counts(w http.ResponseWriter, r *http.Request, ids []string) {
	n := 0
	for _, id := range ids {
		if err := db.Delete(r.Context(), id); err != nil {
			apierror.Write(w, r, err)
			n++
			break
		}
	}
	if n > 0 {
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func flag(w http.ResponseWriter, r *http.Request, allowed bool) {
	if !allowed {
		apierror.Write(w, r, apierror.CodePermissionDenied)
	}
	if allowed {
		w.WriteHeader(http.StatusNoContent)
	}
}

func panics(w http.ResponseWriter, r *http.Request) {
	if err := db.Delete(r.Context(), "a"); err != nil {
		apierror.Write(w, r, err)
		abort()
	}
	w.WriteHeader(http.StatusNoContent)
}

func abort() { panic(http.ErrAbortHandler) }

// allow reports whether the request may continue. If not, it has answered it.
func allow(w http.ResponseWriter, r *http.Request) bool {
	if r.Header.Get("Admin") == "" {
		apierror.Write(w, r, apierror.CodePermissionDenied)
		return false
	}
	return true
}

func asks(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r) {
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func closures(w http.ResponseWriter, r *http.Request) {
	fail := func(err error) { apierror.Write(w, r, err) }
	if err := db.Delete(r.Context(), "a"); err != nil {
		fail(err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func deferred(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if v := recover(); v != nil {
			apierror.Write(w, r, apierror.CodeAPIError)
		}
	}()
	w.WriteHeader(http.StatusNoContent)
}

func anotherWriter(w http.ResponseWriter, r *http.Request, buffered interface {
	http.ResponseWriter
	WriteTo(io.Writer) (int64, error)
}) {
	held := buffered
	if err := db.Delete(r.Context(), "a"); err != nil {
		apierror.Write(held, r, err)
	}
	_, _ = buffered.WriteTo(w)
}

func flushes(w http.ResponseWriter, r *http.Request) {
	if err := db.Delete(r.Context(), "a"); err != nil {
		apierror.Write(w, r, err)
		_ = http.NewResponseController(w).Flush()
		slog.Debug("answered", "header", w.Header())
	}
}

// saves is middleware: what follows the handler also follows its success.
func saves(next apierror.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := next(w, r); err != nil {
			apierror.Write(w, r, err)
		}
		_ = db.Delete(r.Context(), "lock")
		logResponse(w, r)
	})
}

func logResponse(w http.ResponseWriter, r *http.Request) { slog.Info("served", "header", w.Header()) }

func savesAfterBoth(w http.ResponseWriter, r *http.Request) {
	if err := db.Delete(r.Context(), "a"); err != nil {
		apierror.Write(w, r, err)
	} else {
		w.WriteHeader(http.StatusNoContent)
	}
	_ = db.Delete(r.Context(), "lock")
}

func checksLength(w http.ResponseWriter, r *http.Request, problems []error) {
	if len(problems) > 0 {
		apierror.Write(w, r, errors.Join(problems...))
	}
	if len(problems) == 0 && r.Method != http.MethodHead {
		w.WriteHeader(http.StatusNoContent)
	}
}

func checksOpposite(w http.ResponseWriter, r *http.Request, valid func(*http.Request) bool) {
	if r.Method == http.MethodHead && !valid(r) {
		apierror.Write(w, r, apierror.CodeParameterInvalid)
	}
	if r.Method != http.MethodHead || valid(r) {
		w.WriteHeader(http.StatusOK)
	}
}

// failsIf calls a function that may not answer.
func failsIf(w http.ResponseWriter, r *http.Request) {
	err := db.Delete(r.Context(), "a")
	web.FailIf(w, r, err)
	_ = db.Delete(r.Context(), "b")
}

func returnsNil(w http.ResponseWriter, r *http.Request) error {
	if err := db.Delete(r.Context(), "a"); err != nil {
		apierror.Write(w, r, err)
		return nil
	}
	return nil
}

// plain is no apierror.HandlerFunc: its caller only logs the error.
func plain(w http.ResponseWriter, r *http.Request) error {
	if err := db.Delete(r.Context(), "a"); err != nil {
		apierror.Write(w, r, err)
		return err
	}
	return nil
}

func moreRoutes(mux *http.ServeMux) {
	mux.Handle("/", apierror.HandlerFunc(returnsNil))
	mux.HandleFunc("/plain", func(w http.ResponseWriter, r *http.Request) { slog.Info("served", "error", plain(w, r)) })
}

func ignored(w http.ResponseWriter, r *http.Request) {
	if err := db.Delete(r.Context(), "a"); err != nil {
		//apierror:ignore b is deleted whatever happens to a
		apierror.Write(w, r, err)
	}
	_ = db.Delete(r.Context(), "b")
}

func asksForTheError(w http.ResponseWriter, r *http.Request) {
	err := db.Delete(r.Context(), "a")
	if err != nil && !errors.Is(err, io.EOF) {
		apierror.Write(w, r, err)
	}
	if errors.Is(err, io.EOF) {
		w.WriteHeader(http.StatusNoContent)
	}
}

var _ = func(w http.ResponseWriter, r *http.Request) { apierror.Write(w, r, apierror.CodeTimeout) }

func _(w http.ResponseWriter, r *http.Request) { apierror.Write(w, r, apierror.CodeTimeout) }

func init() {}

type server[T http.ResponseWriter] struct{ w T }

func (s server[T]) serve(w T, r *http.Request, f func() bool) {
	switch any(s.w).(type) {
	case nil:
	default:
		apierror.Write(w, r, apierror.CodeTimeout)
		goto end
	}
	for f() {
	}
end:
	select {}
}

func manyResponses(requests []*http.Request, response func(*http.Request) http.ResponseWriter) {
	for _, r := range requests {
		w := response(r)
		if r.Method == http.MethodTrace {
			apierror.Write(w, r, apierror.CodeMethodNotAllowed)
			continue
		}
		w.WriteHeader(http.StatusNoContent)
	}
}
