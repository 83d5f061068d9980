{{/* Settings as text, and the figures that follow from them. */}}

{{/* One value as the library reads it: mappings as JSON, lists with commas, whole numbers without an exponent. */}}
{{- define "consumer.text" -}}
{{- if kindIs "map" . -}}
{{- toJson . -}}
{{- else if kindIs "slice" . -}}
{{- join "," . -}}
{{- else if and (kindIs "float64" .) (eq . (floor .)) -}}
{{- printf "%.0f" . -}}
{{- else if kindIs "invalid" . -}}
{{- else -}}
{{- toString . -}}
{{- end -}}
{{- end -}}

{{/* What goes into the ConfigMap: the settings, and the two that the probes need. */}}
{{- define "consumer.settings" -}}
{{- $ours := dict "METRICS_ENABLED" true "METRICS_HOST" "0.0.0.0" "PYRALLEL_LOG_FORMAT" "json" -}}
{{- $settings := merge (dict) .Values.settings $ours -}}
{{- if .Values.staticMembership.enabled -}}
{{- $settings = omit $settings "KAFKA_LIBRDKAFKA" -}}
{{- end -}}
{{- range $name, $value := $settings }}
{{ $name }}: {{ include "consumer.text" $value | quote }}
{{- end -}}
{{- end -}}

{{- define "consumer.metricsPort" -}}
{{- include "consumer.text" (default 9091 .Values.settings.METRICS_PORT) -}}
{{- end -}}

{{/* The most that a stop takes (closing.py: the drain, REST_SECONDS, LET_GO_SECONDS), with 5 s of slack. */}}
{{- define "consumer.graceSeconds" -}}
{{- if kindIs "invalid" .Values.terminationGracePeriodSeconds -}}
{{- /* By hasKey: 0 is a value, and `default` and `merge` take it for none. */ -}}
{{- $name := "EXECUTION_SHUTDOWN_DRAIN_TIMEOUT_MS" -}}
{{- $drain := ternary (get .Values.settings $name) 5000 (hasKey .Values.settings $name) -}}
{{- add (ceil (divf (float64 $drain) 1000.0)) 15 .Values.preStopSeconds -}}
{{- else -}}
{{- include "consumer.text" .Values.terminationGracePeriodSeconds -}}
{{- end -}}
{{- end -}}

{{/* Whether processes should be as many as the container has cores: Python sees the node's. */}}
{{- define "consumer.fitsProcesses" -}}
{{- $limits := default dict .Values.resources.limits -}}
{{- if and (eq (lower (toString .Values.settings.EXECUTION_MODE)) "process") (not .Values.settings.EXECUTION_WORKER_POOL_SIZE) (not .Values.settings.PYRALLEL_CONCURRENCY) $limits.cpu -}}
true
{{- end -}}
{{- end -}}
