package apierror_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/seawall-go/seawall/apierror"
)

// The parameter is named as the client spells it.
func ExampleDecodeJSON() {
	create := apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		var in struct {
			Items []struct {
				Price int `json:"price"`
			} `json:"items"`
		}
		return apierror.DecodeJSON(w, r, &in, nil)
	})

	for _, body := range []string{
		`{"items": [{"price": 1}, {"price": "2"}]}`,
		`{"label": "n"}`,
		`{"items": [],}`,
		``,
	} {
		r := httptest.NewRequest(http.MethodPost, "/v1/orders", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		create.ServeHTTP(w, r)

		e, _ := errors.AsType[*apierror.Error](apierror.Parse(w.Result()))
		fmt.Println(e.Code(), "-", e.Message())
	}
	// Output:
	// parameter_invalid - Invalid parameter: items[1].price must be a whole number.
	// parameter_invalid - Invalid parameter: label is not known.
	// parameter_invalid - The request body is not valid JSON, at byte 14.
	// parameter_missing - The request body is empty.
}
