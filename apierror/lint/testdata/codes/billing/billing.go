// Package billing sends codes. The Renderer is in another package.
package billing

import (
	"errors"
	"fmt"
	"net/http"

	"example.com/shop/codes/errs"

	"github.com/seawall-go/seawall/apierror"
)

// Pay sends codes that the catalog defines, and four that it does not.
func Pay(w http.ResponseWriter, r *http.Request) error {
	switch r.URL.Path {
	case "/1":
		return apierror.Code("billing_closed")
	case "/2":
		return errs.Forgotten.Messagef("We have forgotten %s.", "it")
	case "/3":
		return fmt.Errorf("pay: %w", errs.CodeUnknown)
	case "/4":
		return errors.Join(errs.CardDeclined, errs.CodeOrderLocked)
	case "/5":
		return errs.OrderLocked
	case "/6":
		return errs.Late().New()
	case "/7":
		return apierror.Code("ignored").New() //apierror:ignore only a test sends it
	case "/8":
		return apierror.Code("ignored_at_renderer")
	case "/9":
		return errs.Changing // its code is not known
	}
	return Parse(r)
}

// Parse has codes of another service's API, which it does not send.
func Parse(r *http.Request) error {
	err := errors.New("upstream")
	upstream := apierror.Code("upstream_busy")
	switch {
	case errors.Is(err, apierror.Code("upstream_slow")), errors.Is(err, apierror.Code("upstream_down").New()):
		return nil
	case apierror.CodeOf(err) == "upstream_gone", apierror.CodeOf(err) == upstream:
		return errs.CodeTimeout
	}
	switch apierror.CodeOf(err) {
	case "upstream_closed":
		return fmt.Errorf("the upstream says %s", apierror.Code("upstream_text"))
	}
	if docs := (map[apierror.Code]string{"upstream_x": "documentation"}); docs["upstream_x"] == "" {
		return apierror.CodeTimeout.New().WithCause(err)
	}
	return err
}
