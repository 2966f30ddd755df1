// Package apierror defines the errors that an API reports: one error object with a type and
// a code that programs can rely on, a message for the developer who reads it, and the id of
// the request. A handler returns an [Error], [Write] sends it, and the client's [Parse]
// returns it. The package needs only the standard library, and it can be used without the
// rest of Seawall.
//
//	{
//	  "error": {
//	    "type": "invalid_request_error",
//	    "code": "parameter_missing",
//	    "message": "Missing required parameter: name.",
//	    "param": "name",
//	    "request_id": "req_Hd92kLpQ7mXw3TzB"
//	  }
//	}
//
// # Returning errors
//
// A [HandlerFunc] is a handler that returns its error instead of writing it:
//
//	func create(w http.ResponseWriter, r *http.Request) error {
//		if r.FormValue("name") == "" {
//			return apierror.ParameterMissing("name") // 400
//		}
//		if !allowed(r) {
//			return apierror.CodePermissionDenied // 403, with the code's default message
//		}
//		return store.Save(r.Context(), r.FormValue("name")) // 500, or 504 for a deadline
//	}
//
// [Code.New] makes an error with the code's default message, and [Code.Messagef] makes one
// with another message. Constructors such as [ParameterMissing] fill in the message for
// you. Errors may be wrapped with %w and joined with [errors.Join] on their way to the
// handler. The documentation of [From] says which one is sent.
//
// An error of another package is sent as api_error with a fixed message. Its text goes only
// to the log, like that of a cause that [Error.WithCause] adds:
//
//	return apierror.ServiceUnavailable(5 * time.Second).WithCause(err)
//
// # Defining codes
//
// A service defines its codes as package variables and returns them or makes errors from them:
//
//	var CardDeclined = apierror.Definition{
//		Code: "card_declined", Type: apierror.TypeInvalidRequest, Status: 402,
//		Message: "The card was declined.",
//	}
//
//	return CardDeclined.Messagef("The card was declined: %s.", reason)
//
// [NewCatalog] adds them to the built-in codes and reports mistakes. The six types are fixed,
// because clients branch on them.
//
// # Rendering
//
// A [Renderer] holds what a service may choose: its catalog and logger, what its own errors
// mean to clients, links to its documentation, and RFC 9457's problem details. Every error
// inside its [Renderer.Handler] is rendered with it:
//
//	rd := &apierror.Renderer{Catalog: catalog, Map: func(err error) *apierror.Error {
//		if errors.Is(err, sql.ErrNoRows) {
//			return apierror.CodeResourceMissing.New()
//		}
//		return nil
//	}}
//	http.ListenAndServe(addr, rd.Handler(mux))
//
// # Reading JSON
//
// [DecodeJSON] reads a request's body and names the parameter at fault as the client spells
// it, such as items[1].price. [FromFields] does so for a validator's errors, and
// [Error.WithField] for your own checks. One response can name several parameters.
//
// # Calling an API
//
// [Parse] returns the error of a response, whatever its body is: an error object, problem
// details, or a proxy's HTML page. [CodeOf] returns the code of an error, for a switch. A
// [Code] and a [Type] are errors themselves, so [errors.Is] finds both:
//
//	err = apierror.Parse(resp) // nil for a status under 400
//	switch {
//	case errors.Is(err, apierror.CodeParameterMissing):
//		e, _ := errors.AsType[*apierror.Error](err)
//		log.Print(e.Param(), e.RequestID())
//	case errors.Is(err, apierror.TypeRateLimit): // any code of that type
//	}
//
// If a handler returns a parsed error, api_error is sent, because the parsed code belongs
// to another service's API.
package apierror
