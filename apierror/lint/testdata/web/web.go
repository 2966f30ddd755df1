// Package web has functions that answer for handlers.
package web

import (
	"encoding/json"
	"log/slog"
	"net/http"

	"github.com/seawall-go/seawall/apierror"
)

// Fail always answers.
func Fail(w http.ResponseWriter, r *http.Request, err error) {
	slog.Info("failed", "error", err)
	answer{w, r}.log(err)
	apierror.Write(w, r, err)
}

// FailWith calls Fail.
func FailWith(err error, w http.ResponseWriter, r *http.Request) { Fail(w, r, err) }

// FailIf may answer.
func FailIf(w http.ResponseWriter, r *http.Request, err error) {
	if err == nil {
		return
	}
	apierror.Write(w, r, err)
}

type answer struct {
	w http.ResponseWriter
	r *http.Request
}

func (a answer) log(err error) {}

// Reply answers with JSON.
func Reply[T any](w http.ResponseWriter, status int, value T) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value)
}

// Text calls Reply.
func Text(w http.ResponseWriter, text string, status int) { Reply(w, status, text) }

// Recorder is a ResponseWriter, so what its methods do is not an answer of a handler.
type Recorder struct{ http.ResponseWriter }

// Record passes a status on.
func (rec *Recorder) Record(status int) { rec.WriteHeader(status) }
