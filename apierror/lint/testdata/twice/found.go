// Package twice continues after it has answered.
package twice

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"example.com/shop/web"

	"github.com/seawall-go/seawall/apierror"
)

type store struct{}

func (store) Load(context.Context, string) (string, error)    { return "", nil }
func (store) Delete(context.Context, string) error            { return nil }
func (store) Close() error                                    { return nil }
func (store) Rollback() error                                 { return nil }
func (store) Watch(context.Context, func(string) error) error { return nil }

var db store

func writesToo(w http.ResponseWriter, r *http.Request) {
	order, err := db.Load(r.Context(), r.PathValue("id"))
	if err != nil {
		apierror.Write(w, r, err) // want `the handler calls json.NewEncoder\(w\).Encode after apierror.Write has answered: add a return`
	}
	_ = json.NewEncoder(w).Encode(order)
}

func worksToo(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Admin") == "" {
		apierror.Write(w, r, apierror.CodePermissionDenied) // want `the handler calls db.Delete after apierror.Write has answered`
	}
	_ = db.Delete(r.Context(), r.PathValue("id"))
}

func checksTwice(w http.ResponseWriter, r *http.Request) {
	name := r.FormValue("name")
	if name == "" {
		apierror.Write(w, r, apierror.ParameterMissing("name")) // want `the handler calls apierror.Write after apierror.Write`
	}
	if len(name) > 100 {
		apierror.Write(w, r, apierror.ParameterInvalid("name", "is too long")) // want `the handler calls w.WriteHeader after`
	}
	w.WriteHeader(http.StatusNoContent)
}

func authenticates(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			apierror.Write(w, r, apierror.CodeAuthenticationFailed) // want `the handler calls next.ServeHTTP after`
		}
		next.ServeHTTP(w, r)
	})
}

func breaks(w http.ResponseWriter, r *http.Request, ids []string) {
	for _, id := range ids {
		if err := db.Delete(r.Context(), id); err != nil {
			apierror.Write(w, r, err) // want `the handler calls fmt.Fprintln after`
			break
		}
	}
	fmt.Fprintln(w, "deleted")
}

func loops(w http.ResponseWriter, r *http.Request, ids []string) {
	for _, id := range ids {
		if id == "" {
			apierror.Write(w, r, apierror.ParameterMissing("ids")) // want `the handler calls apierror.Write after`
			continue
		}
		fmt.Println(id)
	}
}

func switches(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet:
	case http.MethodDelete:
		apierror.Write(w, r, apierror.MethodNotAllowed("GET")) // want `the handler calls w.Write after`
	}
	w.Write([]byte("order"))
}

func byHand(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength > 1000 {
		http.Error(w, "too large", 413) // want `the handler calls w.WriteHeader after http.Error has answered` `http.Error bypasses the catalog`
	}
	w.WriteHeader(http.StatusAccepted)
}

func returnsToo(w http.ResponseWriter, r *http.Request) error {
	err := db.Delete(r.Context(), r.PathValue("id"))
	if err != nil {
		apierror.Write(w, r, err) // want `apierror.HandlerFunc writes the error that is returned, but apierror.Write has already answered: return the error without writing it`
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func throughFunctions(w http.ResponseWriter, r *http.Request) error {
	order, err := db.Load(r.Context(), r.PathValue("id"))
	if err != nil {
		web.Fail(w, r, err) // want `the handler calls web.FailWith after web.Fail has answered: add a return`
	}
	if order == "" {
		web.FailWith(err, w, r) // want `apierror.HandlerFunc writes the error that is returned, but web.FailWith has already answered`
		return err
	}
	web.Reply(w, http.StatusOK, order)
	return nil
}

func (s store) fail(w http.ResponseWriter, r *http.Request) {
	apierror.Write(w, r, apierror.CodeTimeout)
}

func throughMethod(w http.ResponseWriter, r *http.Request, next apierror.HandlerFunc) {
	if r.Method == http.MethodTrace {
		db.fail(w, r) // want `the handler calls next after db.fail has answered`
	}
	_ = next(w, r)
}

func decodes(w http.ResponseWriter, r *http.Request) {
	var order string
	if err := apierror.DecodeJSON(w, r, &order, nil); err != nil {
		apierror.Write(w, r, err) // want `the handler calls db.Delete after`
	}
	_ = db.Delete(r.Context(), order)
}

func routes(mux *http.ServeMux) {
	mux.Handle("DELETE /orders/{id}", apierror.HandlerFunc(returnsToo))
	mux.Handle("PUT /orders/{id}", apierror.HandlerFunc(throughFunctions))
	mux.Handle("POST /orders/{id}", logged(func(w http.ResponseWriter, r *http.Request) error {
		apierror.Write(w, r, apierror.CodeTimeout) // want `apierror.HandlerFunc writes the error that is returned`
		return apierror.CodeTimeout
	}))
}

func logged(next apierror.HandlerFunc) apierror.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		err := next(w, r)
		if err != nil {
			fmt.Println(err)
			apierror.Write(w, r, fmt.Errorf("logged: %w", err)) // want `apierror.HandlerFunc writes the error that is returned`
		}
		return err
	}
}

func (store) Login(context.Context) error { return nil }

func logsIn(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		apierror.Write(w, r, apierror.MethodNotAllowed("POST")) // want `the handler calls db.Login after`
	}
	if err := db.Login(r.Context()); err != nil {
		fmt.Println(err)
	}
}
