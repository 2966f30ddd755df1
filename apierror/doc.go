// Package apierror is how an API says what went wrong: one error object with a type and a code
// that programs can rely on, a message for the developer who reads it, and the id of the
// request. The same [Error] is returned by a handler, sent by [Write], and got back by the
// client from [Parse]. The package needs nothing but the standard library, and no other part of
// Seawall.
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
// # Return errors
//
// A [HandlerFunc] is a handler that returns what went wrong instead of writing it:
//
//	func create(w http.ResponseWriter, r *http.Request) error {
//		if r.FormValue("name") == "" {
//			return apierror.ParameterMissing("name") // 400
//		}
//		if !allowed(r) {
//			return apierror.CodePermissionDenied // 403, with the code's default message
//		}
//		return store.Save(r.Context(), r.FormValue("name")) // 500 api_error, or 504 if it was a deadline
//	}
//
//	mux.Handle("POST /v1/resources", apierror.HandlerFunc(create))
//
// [Code.New] makes an error of a code with its default message, and [Code.Messagef] one with
// another message. Constructors such as [ParameterMissing] and [RateLimitExceeded] take what the
// code's message or headers need. Errors may be wrapped with %w and joined with [errors.Join] on
// their way up; [From] tells what is found in them.
//
// What the client sees and what the log sees never mix. An error that is none of this package's
// goes out as api_error with a fixed message. Its text, and what [Error.WithCause] adds to an
// Error, is for the log:
//
//	return apierror.ServiceUnavailable(5 * time.Second).WithCause(err)
//
// An Error does not change. The With methods return copies, so one may be a package variable and
// be used by all requests.
//
// # Codes of one's own
//
// A service describes its codes with a [Definition] each, as package variables, and makes errors
// from them:
//
//	var CardDeclined = apierror.Definition{
//		Code: "card_declined", Type: apierror.TypeInvalidRequest, Status: http.StatusPaymentRequired,
//		Message: "The card was declined.",
//	}
//
//	return CardDeclined // with the default message
//	return CardDeclined.Messagef("The card was declined: %s.", reason)
//
// [NewCatalog] puts them beside the built-in ones and refuses what cannot be right: a code that
// is defined twice, a status that is no error. There is no registry that packages write to
// behind each other's back. The types are fixed: clients branch on them, so a code belongs to
// one of the six.
//
// # How errors look
//
// A [Renderer] holds what a service may choose, and its [Renderer.Handler] makes it known to
// every handler below:
//
//	rd := &apierror.Renderer{
//		Catalog: catalog,
//		Logger:  logger,
//		Map: func(err error) *apierror.Error { // the service's own errors
//			if errors.Is(err, sql.ErrNoRows) {
//				return apierror.CodeResourceMissing.Messagef("No such order.")
//			}
//			return nil
//		},
//	}
//	http.ListenAndServe(addr, rd.Handler(mux))
//
// Without one the defaults hold. [Renderer.Strict] confines a service to the codes and statuses
// of the specification, and [Renderer.Problem] answers clients that prefer the problem details
// of RFC 9457. [Error.WithProblemType] and [Error.WithProblemMember] are for the problem types
// that other specifications define.
//
// [Write] takes care of the details. It removes headers that describe the body that does not
// come. HEAD gets no body. A 401 has a challenge, and a 429 has a Retry-After. No cache keeps
// the answer. X-Should-Retry: false tells generated clients when a retry is pointless. The
// documentation of [Write] says what happens to a response that has begun already.
//
// # Call such an API
//
// [Parse] makes an error of a response, whatever is in it: an error object, RFC 9457's problem
// details, the page of a proxy, nothing.
//
//	resp, err := client.Do(req)
//	if err == nil {
//		err = apierror.Parse(resp) // nil for a status under 400
//	}
//
// A [Code] is an error itself, and so is a [Type]. So [errors.Is] asks for one, through any
// wrapping, and [CodeOf] serves a switch:
//
//	if errors.Is(err, apierror.CodeParameterMissing) { … }
//	if errors.Is(err, apierror.TypeRateLimit) { … } // what other languages call an exception's class
//	if e, ok := errors.AsType[*apierror.Error](err); ok {
//		log.Print(e.Param(), e.RequestID())
//	}
//
// A parsed error is another service's promise. A handler that returns one answers api_error,
// with the parsed error as cause; to pass a failure on, make an error of your own from it.
//
// # Read JSON
//
// [DecodeJSON] reads a request's body and tells the client what is wrong with it in the client's
// words: which parameter, spelled as in the body (items[1].price), and what it must be.
// [FromFields] and [FromFieldMap] do so for what a validator found, and [Error.WithField] for
// one's own checks: when several parameters are at fault, all are named in one answer.
package apierror
