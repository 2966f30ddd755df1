// Package reference turns a service's [apierror.Catalog] into a reference of its errors: a web
// page for people, and schemas and typed errors for programs. The service serves the page, and
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
// The page is one document, which loads nothing else. The same handler serves the other formats
// if the query names one, such as ?format=typescript. [Reference.Render] returns any [Format],
// for a build that writes files.
//
// # Schemas
//
// The JSON Schema describes exactly what a service with this catalog sends, so a test can check
// the service's responses with it. It refuses codes that the catalog does not have. The OpenAPI
// components accept them, because clients are generated from OpenAPI, and a client must accept
// codes that are added later. Neither describes the problem details of [apierror.Renderer.Problem].
//
// # Typed errors
//
// The TypeScript, Python and Go files need only their language's standard library. Each has a
// class or struct for each type, the codes, and a function that makes an error from a response,
// whatever its body is. They agree with [apierror.Parse] on what a response means.
//
// # Breaking changes
//
// [Diff] compares two versions of a catalog, and [Change.Breaking] reports which changes break
// clients. [Parse] reads a version that was exported in [FormatJSON]. The command seawall-catalog
// compares versions in continuous integration.
package reference
