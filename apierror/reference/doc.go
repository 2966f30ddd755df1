// Package reference makes the reference of an API's errors from its [apierror.Catalog]: a web
// page for people, and schemas and typed errors for programs. A service serves the page, and
// its errors link to it:
//
//	docs := reference.New(catalog, &reference.Options{Title: "Payments API errors"})
//	mux.Handle("GET /docs/errors", docs)
//
//	rd := &apierror.Renderer{
//		Catalog: catalog,
//		DocURL:  docs.DocURL("https://api.example.com/docs/errors"),
//	}
//
// The page needs nothing but itself: no other files, no other hosts. With a query such as
// ?format=typescript, the same handler serves the other [Format] values. [Reference.Render]
// returns them, for a build that writes files.
//
// # Schemas
//
// The JSON Schema describes exactly what a service with this catalog sends, so a test can check
// the service's responses with it. It refuses codes that the catalog does not have. The OpenAPI
// components accept them, because clients are generated from OpenAPI, and a client must accept
// codes that are added later.
//
// # Typed errors
//
// The TypeScript, Python and Go files need nothing but their language's standard library. Each has
// a class per type, the codes, and a function that makes an error from a response, whatever its
// body is. They agree with [apierror.Parse] on what a response means.
//
// # Breaking changes
//
// [Diff] compares two exports of a catalog (see [FormatJSON]) and says which changes break
// clients. The command seawall-catalog does so in continuous integration.
package reference
