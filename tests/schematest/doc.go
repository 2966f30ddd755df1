// Package schematest tests the schemas and the Markdown of apierror/reference with what reads them:
// a validator of JSON Schema, one of OpenAPI, and a renderer of GitHub's Markdown. It is a separate
// module, so that the library does not require these.
package schematest
