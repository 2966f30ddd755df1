package apierror_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/seawall-go/seawall/apierror"
)

// The parameter is named as it is in the body.
func ExampleDecodeJSON() {
	create := apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		var in struct {
			Name  string `json:"name"`
			Items []struct {
				Price int `json:"price"`
			} `json:"items"`
		}
		return apierror.DecodeJSON(w, r, &in, nil)
	})
	for _, body := range []string{
		`{"name":"n","items":[{"price":1},{"price":"2"}]}`,
		`{"label":"n"}`,
		`{"name":"n",}`,
		``,
	} {
		r := httptest.NewRequest(http.MethodPost, "/v1/orders", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		create.ServeHTTP(w, r)
		fmt.Println(asked(w))
	}
	// Output:
	// 400 parameter_invalid: Invalid parameter: items[1].price must be a whole number.
	// 400 parameter_invalid: Invalid parameter: label is not known.
	// 400 parameter_invalid: The request body is not valid JSON, at byte 13.
	// 400 parameter_missing: The request body is empty.
}

func asked(w *httptest.ResponseRecorder) string {
	e, _ := errors.AsType[*apierror.Error](apierror.Parse(w.Result()))
	return fmt.Sprintf("%d %s: %s", e.Status(), e.Code(), e.Message())
}

// A validator's errors have names and rules. The words are the service's.
func ExampleFromFields() {
	invalid := []plain{{field: "name", tag: "required"}, {field: "age", tag: "gte"}} // validator.ValidationErrors, say

	err := apierror.FromFields(invalid, func(f plain) string {
		if f.Tag() == "gte" {
			return "must be at least 18"
		}
		return ""
	})

	for _, f := range apierror.From(err).Fields() {
		fmt.Println(f.Message)
	}
	// Output:
	// Missing required parameter: name.
	// Invalid parameter: age must be at least 18.
}
