package seawall_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
)

// A strict Renderer answers a 503 as a 500.
func TestARendererAppliesToEverythingInside(t *testing.T) {
	t.Parallel()
	strict := (&apierror.Renderer{Strict: true, Logger: discard}).Handler
	id := seawall.RequestID(nil)
	for name, chain := range map[string]seawall.Middleware{
		"alone":                                 strict,
		"below RequestID":                       seawall.Chain(id, strict),
		"around RequestID":                      seawall.Chain(strict, id),
		"around RequestID, twice":               seawall.Chain(strict, id, id),
		"around authentication":                 seawall.Chain(strict, as("acct_1")),
		"around authentication, twice":          seawall.Chain(strict, as("key_1"), as("acct_1")),
		"around authentication and RequestID":   seawall.Chain(strict, as("acct_1"), id),
		"around a timeout":                      seawall.Chain(strict, seawall.Timeout(1<<40)),
		"around a foreign writer":               seawall.Chain(strict, wrapped(2), id),
		"around a foreign writer and a clone":   seawall.Chain(strict, wrapped(2), cloned),
		"around a replaced context":             seawall.Chain(strict, replacesContext),
		"around a replaced context, RequestID":  seawall.Chain(strict, replacesContext, id),
		"around a replaced context, AccessLog":  seawall.Chain(strict, replacesContext, seawall.AccessLog(&seawall.AccessLogOptions{Logger: discard})),
		"around authentication, then replaced":  seawall.Chain(strict, as("acct_1"), wrapped(1), id, replacesContext),
		"below authentication, then replaced":   seawall.Chain(id, as("acct_1"), wrapped(1), strict, replacesContext),
		"around a sub-request's own chain":      seawall.Chain(strict, id, cloned, hidesWriter, id),
		"around a sub-request's authentication": seawall.Chain(strict, id, cloned, hidesWriter, id, as("acct_1")),
		"the innermost of two":                  seawall.Chain((&apierror.Renderer{}).Handler, id, strict),
		"the innermost of two, authenticated":   seawall.Chain(id, (&apierror.Renderer{}).Handler, as("acct_1"), strict),
		"a Stack's":                             (&seawall.Stack{Logger: discard, Renderer: &apierror.Renderer{Strict: true}, Authenticate: as("acct_1")}).Handler,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := serveOne(chain(failing(nil, apierror.ServiceUnavailable(0))), nil)
			require.Equal(t, http.StatusInternalServerError, w.Code)
		})
	}
}
