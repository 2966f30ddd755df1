package main

import (
	"log"
	"net/http"

	"example.com/shop/errs"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/apierror/reference"
)

// Catalog is in a command, which cannot be imported.
var Catalog = errs.Catalog

func handler() http.Handler {
	docs := reference.New(errs.Catalog, &reference.Options{Title: "Payments API errors"})
	rd := &apierror.Renderer{
		Catalog: errs.Catalog,
		DocURL:  docs.DocURL("https://api.example.com/docs/errors"),
	}
	mux := http.NewServeMux()
	mux.Handle("GET /docs/errors", docs)
	mux.Handle("POST /payments", apierror.HandlerFunc(pay))
	return rd.Handler(mux)
}

func pay(http.ResponseWriter, *http.Request) error { return errs.CardDeclined }

func main() { log.Fatal(http.ListenAndServe("localhost:8080", handler())) }
