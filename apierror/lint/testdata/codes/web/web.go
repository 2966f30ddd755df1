// Package web has the Renderer.
package web

import (
	"net/http"

	"example.com/shop/codes/billing"
	"example.com/shop/codes/errs"

	"github.com/seawall-go/seawall/apierror"
)

var webOnly = apierror.Definition{Code: "web_only", Type: apierror.TypeAPI, Status: 500, Message: "Only here."}

var missing = apierror.Definition{Code: "missing_here", Type: apierror.TypeAPI, Status: 500, Message: "Forgotten."}

// Handler returns the handler of the shop.
func Handler() http.Handler {
	catalog := apierror.MustCatalog(append(errs.All, webOnly, errs.Late())...)
	rd := &apierror.Renderer{Catalog: catalog} // want `the catalog of the Renderer does not define the code "billing_closed", which example.com/shop/codes/billing/billing.go:18 sends: give its Definition to apierror.NewCatalog` `"forgotten", which example.com/shop/codes/billing/billing.go:20 sends` `"unknown_code", which .*/billing.go:22 sends` `"ignored_at_renderer", which .*/billing.go:32 sends`
	return rd.Handler(apierror.HandlerFunc(serve))
}

func serve(w http.ResponseWriter, r *http.Request) error {
	switch r.URL.Path {
	case "/1":
		return webOnly
	case "/2":
		return missing // want `the catalog of the Renderer does not define the code "missing_here": give its Definition to apierror.NewCatalog`
	case "/3":
		return apierror.Code("typo_here").Messagef("No.") // want `"typo_here"`
	case "/4":
		err := apierror.CodeParameterInvalid.New().WithField(apierror.Field{Code: "bad_field", Param: "a"}) // want `"bad_field"`
		return err.WithField(apierror.Field{Code: webOnly.Code, Param: "b"})
	case "/5":
		apierror.Write(w, r, apierror.Definition{Code: "inline", Type: apierror.TypeAPI, Status: 500, Message: "Inline."}) // want `"inline"`
		return nil
	case "/6":
		var err error
		err = apierror.Code("assigned") // want `"assigned"`
		return err
	case "/7":
		return apierror.CodeRateLimitExceeded.New()
	case "/8":
		fail(w, r, "typo_in_call") // want `"typo_in_call"`
		return nil
	case "/9":
		return coded("typo_in_result") // want `"typo_in_result"`
	}
	return billing.Pay(w, r)
}

func fail(w http.ResponseWriter, r *http.Request, code apierror.Code) { apierror.Write(w, r, code) }

func coded(code apierror.Code) *apierror.Error { return code.New().WithParam("name") }
