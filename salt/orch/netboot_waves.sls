{#- salt-run state.orchestrate orch.netboot_waves pillar='{"roll": {"tgt": "netboot*"}}'
    Mirrors first, then site by site; it fails where a wave stops. salt-run netboot_waves.resume goes
    on after that. -#}
netboot-waves:
  salt.runner:
    - name: netboot_waves.roll
    {%- for key, value in pillar.get("roll", {}) | dictsort %}
    - {{ key }}: {{ value | json }}
    {%- endfor %}
