// Package otelprom tests the dashboard and the alerts of otelseawall with a Prometheus server: each
// query has data, and each alert fires when it should. It is a separate module so that otelseawall
// does not require an exporter.
//
// This makes the pictures of docs/TELEMETRY.md:
//
//	go test -run TestStorm -pictures ../../docs
package otelprom
