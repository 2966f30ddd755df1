package reference_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/apierror/reference"
)

// A service serves the reference of its catalog, and its errors link to it.
func ExampleNew() {
	cardDeclined := apierror.Definition{
		Code: "card_declined", Type: apierror.TypeInvalidRequest, Status: http.StatusPaymentRequired,
		Message:     "The card was declined.",
		Description: "The bank refused the payment.",
		Resolution:  "Ask the customer for another card.",
	}
	catalog := apierror.MustCatalog(cardDeclined)
	docs := reference.New(catalog, &reference.Options{Title: "Payments API errors"})
	renderer := &apierror.Renderer{Catalog: catalog, DocURL: docs.DocURL("https://api.example.com/docs/errors")}

	mux := http.NewServeMux()
	mux.Handle("GET /docs/errors", docs)
	mux.Handle("POST /v1/payments", apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
		return cardDeclined
	}))
	service := renderer.Handler(mux)

	w := httptest.NewRecorder()
	service.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/payments", http.NoBody))
	if e, ok := apierror.Parse(w.Result()).(*apierror.Error); ok {
		fmt.Println(e.DocURL())
	}

	w = httptest.NewRecorder()
	service.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/docs/errors", http.NoBody))
	fmt.Println(w.Code, w.Header().Get("Content-Type"))
	// Output:
	// https://api.example.com/docs/errors#card_declined
	// 200 text/html; charset=utf-8
}
