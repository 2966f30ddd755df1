package main

import (
	"encoding/json"
	"strings"
)

// The grid of Grafana has 24 columns. Rows of this height fit on one screen.
const (
	columns = 24
	height  = 5
)

// object is an object of JSON. Its members are written in the order of their names.
type object map[string]any

// grafana returns a dashboard in the JSON model of Grafana 11 (schema version 39).
func grafana(rows []row) ([]byte, error) {
	var panels []object
	y := 0
	for _, r := range rows {
		panels = append(panels, object{
			"id": len(panels) + 1, "type": "row", "title": r.title, "collapsed": false, "panels": []object{},
			"gridPos": object{"x": 0, "y": y, "w": columns, "h": 1},
		})
		y++
		width := columns / len(r.panels)
		for i, p := range r.panels {
			o := p.object()
			o["id"] = len(panels) + 1
			o["gridPos"] = object{"x": i * width, "y": y, "w": width, "h": height}
			panels = append(panels, o)
		}
		y += height
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(object{
		"uid":           "seawall",
		"title":         "Seawall",
		"description":   "Errors, limits, idempotency keys and retries of services and clients that use Seawall.",
		"tags":          []string{"seawall"},
		"schemaVersion": 39,
		"version":       1,
		"editable":      true,
		"graphTooltip":  1, // one crosshair in all panels
		"refresh":       "30s",
		"time":          object{"from": "now-1h", "to": "now"},
		"timezone":      "browser",
		"templating":    object{"list": variables()},
		"annotations":   object{"list": []object{}},
		"panels":        panels,
	})
	return []byte(b.String()), err
}

// variables returns the variables of the dashboard. The interval is the smallest step of a graph,
// from which Grafana computes $__rate_interval.
func variables() []object {
	var intervals []object
	for _, text := range []string{"15s", "1m", "5m", "15m", "1h"} {
		intervals = append(intervals, object{"text": text, "value": text, "selected": text == "15s"})
	}
	return []object{
		{"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
		{
			"name": "job", "label": "Job", "type": "query", "datasource": datasource, "refresh": 2, // when the time range changes
			"query": object{"query": `label_values({__name__=~"seawall_.+"}, job)`, "refId": "job"},
			"multi": true, "includeAll": true, "allValue": ".+", "sort": 1,
			"current": object{"text": []string{"All"}, "value": []string{"$__all"}},
		},
		{
			"name": "interval", "label": "Interval", "type": "interval", "query": "15s,1m,5m,15m,1h",
			"current": intervals[0], "options": intervals,
		},
	}
}

var datasource = object{"type": "prometheus", "uid": "${datasource}"}

func (p panel) object() object {
	var targets []object
	for i, q := range p.queries {
		targets = append(targets, object{
			"refId": string(rune('A' + i)), "datasource": datasource, "editorMode": "code", "range": true,
			"expr": q.expr, "legendFormat": q.legend, "interval": "$interval",
		})
	}
	return object{
		"type": "timeseries", "title": p.title, "description": p.purpose + "\n\n" + p.heading() + " " + p.action,
		"datasource": datasource, "targets": targets,
		"fieldConfig": object{"defaults": p.field(), "overrides": []object{}},
		"options": object{
			"legend":  object{"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []string{}},
			"tooltip": object{"mode": "multi", "sort": "desc"},
		},
	}
}

// heading says when to act.
func (p panel) heading() string {
	switch {
	case p.red == nil:
		return "**When it rises:**"
	case p.red.value == 0:
		return "**When it is not zero:**"
	default:
		return "**When a line is in the red area:**"
	}
}

// field returns how values are drawn. The area of bad values is red. If all values but zero are
// bad, the lines are red.
func (p panel) field() object {
	custom := object{"lineWidth": 1, "fillOpacity": 10, "showPoints": "never", "spanNulls": false}
	field := object{"unit": p.unit, "min": 0, "custom": custom, "color": object{"mode": "palette-classic"}}
	switch {
	case p.red == nil:
	case p.red.value == 0:
		field["color"] = object{"mode": "shades", "fixedColor": "red"}
	default:
		low, high := "green", "red"
		if p.red.below {
			low, high = high, low
		}
		custom["thresholdsStyle"] = object{"mode": "dashed+area"}
		field["thresholds"] = object{"mode": "absolute", "steps": []object{
			{"color": low, "value": nil}, {"color": high, "value": p.red.value},
		}}
	}
	return field
}
