// Package lost writes errors with requests that have lost their context.
package lost

import (
	"context"
	"net/http"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

func direct(w http.ResponseWriter, r *http.Request, err error) {
	apierror.Write(w, r.WithContext(context.Background()), err) // want `this request does not have the context of the handler's request, so the cancellation, the principal and the fields for the log are lost: pass the handler's request`
}

func clone(w http.ResponseWriter, r *http.Request, err error) {
	detached := r.Clone(context.TODO())
	apierror.Write(w, detached, err) // want `does not have the context of the handler's request`
}

func replaced(w http.ResponseWriter, r *http.Request, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	r = r.WithContext(context.WithValue(ctx, "key", "value"))
	apierror.Write(w, r, err) // want `does not have the context`
}

func newRequest(w http.ResponseWriter, r *http.Request) {
	sub, err := http.NewRequest(http.MethodGet, "/", nil)
	if err != nil {
		apierror.Write(w, r, err)
		return
	}
	apierror.Write(w, sub, apierror.CodeTimeout) // want `does not have the context`
}

func newWithContext(w http.ResponseWriter, method string, err error) {
	sub, _ := http.NewRequestWithContext(context.Background(), method, "/", nil)
	apierror.Write(w, sub, err) // want `does not have the context`
}

func literal(w http.ResponseWriter, err error) {
	apierror.Write(w, &http.Request{Method: "GET"}, err) // want `does not have the context`
}

func empty(w http.ResponseWriter, err error) {
	r := new(http.Request)
	apierror.Write(w, r, err) // want `does not have the context`
}

func eitherWay(w http.ResponseWriter, r *http.Request, err error) {
	sub := &http.Request{}
	if r.Method == http.MethodPost {
		sub = r.WithContext(context.Background())
	}
	apierror.Write(w, sub, err) // want `does not have the context`
}
