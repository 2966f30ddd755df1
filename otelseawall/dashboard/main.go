// Dashboard writes the Grafana dashboard and the Prometheus alerts for the metrics of package
// otelseawall, as the OpenTelemetry exporter for Prometheus names them:
//
//	dashboard [-out folder]
//
// It writes seawall.json, to import in Grafana, and alerts.yaml, a file of rules for Prometheus.
// Page docs/TELEMETRY.md describes both.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

//go:generate go run .

func main() {
	out := flag.String("out", ".", "the folder to write to")
	flag.Parse()
	if err := write(*out); err != nil {
		fmt.Fprintln(os.Stderr, "dashboard:", err)
		os.Exit(1)
	}
}

// write writes both files to a folder.
func write(folder string) error {
	dashboard, err := grafana(rows)
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{"seawall.json": dashboard, "alerts.yaml": prometheus(alerts)} {
		if err := os.WriteFile(filepath.Join(folder, name), data, 0o644); err != nil { //nolint:gosec // Grafana and Prometheus run as other users
			return err
		}
	}
	return nil
}
