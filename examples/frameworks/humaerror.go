package frameworks

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/apierror/reference"
)

// humaError is the type of the errors that huma makes.
type humaError struct {
	status  int
	message string
	causes  []error // the error of a handler, or what huma's validation has found
}

func (e *humaError) Error() string  { return e.message }
func (e *humaError) GetStatus() int { return e.status }

// apiError returns the error to send.
func (e *humaError) apiError(op *huma.Operation) error {
	switch {
	case e.status == http.StatusRequestEntityTooLarge:
		return apierror.RequestTooLarge(op.MaxBodyBytes)
	case e.status == http.StatusUnsupportedMediaType:
		return apierror.UnsupportedMediaType("application/json")
	case e.message == "request body is required":
		return apierror.CodeParameterMissing.Messagef("The request body is empty.")
	}
	list := []error{e}
	for _, cause := range e.causes {
		if d, ok := cause.(huma.ErrorDetailer); ok {
			cause = parameterError(d.ErrorDetail())
		}
		list = append(list, cause)
	}
	joined := errors.Join(list...)
	if apierror.From(joined).Code() != apierror.CodeAPIError {
		return joined // the client gets all parameters
	}
	chosen := apierror.From(statusError(e.status, joined))
	if chosen.Status() < 500 { // a handler has returned huma.Error404NotFound, for example
		return chosen.WithMessage(e.message)
	}
	return chosen
}

// parameterError returns the error for one finding of huma's validation.
func parameterError(d *huma.ErrorDetail) error {
	_, param, _ := strings.Cut(d.Location, ".") // without "body", "query" or "path"
	before, after, _ := strings.Cut(validation.MsgExpectedRequiredProperty, "%s")
	if name, ok := between(d.Message, before, after); ok { // then the location is that of the object
		return apierror.ParameterMissing(strings.TrimPrefix(param+"."+name, "."))
	}
	if _, ok := between(d.Message, "required ", " parameter is missing"); ok {
		return apierror.ParameterMissing(param)
	}
	if param == "" {
		return apierror.CodeParameterInvalid.Messagef("The request body is not valid.").WithCause(d)
	}
	problem, _, _ := strings.Cut(d.Message, ": ") // what follows may quote the value
	return apierror.CodeParameterInvalid.Messagef("Invalid parameter: %s: %s.", param, problem).WithParam(param)
}

// between returns the part of s between a prefix and a suffix, if s has both.
func between(s, prefix, suffix string) (string, bool) {
	s, hasPrefix := strings.CutPrefix(s, prefix)
	s, hasSuffix := strings.CutSuffix(s, suffix)
	return s, hasPrefix && hasSuffix
}

// Schema implements [huma.SchemaProvider], so that huma's OpenAPI document has the error object.
// It adds the schemas of package reference to r.
func (e *humaError) Schema(r huma.Registry) *huma.Schema {
	for name, schema := range errorSchemas() {
		r.Map()[name] = &huma.Schema{Extensions: schema}
	}
	return &huma.Schema{Ref: "#/components/schemas/ErrorResponse"}
}

// errorSchemas returns the schemas of the error object.
var errorSchemas = sync.OnceValue(func() map[string]map[string]any {
	var document struct {
		Components struct{ Schemas map[string]map[string]any }
	}
	text, err := reference.New(apierror.MustCatalog(NameTaken), nil).Render(reference.FormatOpenAPI)
	if err == nil {
		err = json.Unmarshal(text, &document)
	}
	if err != nil {
		panic(err) // the catalog is a constant
	}
	return document.Components.Schemas
})
