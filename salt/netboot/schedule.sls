# Periodic apply by the minion itself, if the pillar sets an interval.
{%- from "netboot/map.jinja" import config, problems with context %}
{#- Only a minion that has a master runs as a daemon, which is what keeps a schedule. #}
{%- set minion = opts.get('file_client') == 'remote' %}

include:
  - netboot.{{ 'invalid' if problems else 'base' }}
{%- if problems %}
{#- A mistake in the pillar removes nothing, not even the schedule. #}
{%- elif config.schedule and minion %}

netboot-schedule:
  schedule.present:
    - name: netboot
    - function: state.apply
    - job_args: [netboot]
    {#- Only a highstate syncs the modules of these states by itself. #}
    - job_kwargs: {sync_mods: all}
    {%- for unit in ('hours', 'minutes') if unit in config.schedule %}
    - {{ unit }}: {{ config.schedule[unit] }}
    {%- endfor %}
    - splay: {{ config.schedule.splay_s }}
    - maxrunning: 1
    {#- Salt's default is to run at once, without splay: during the very apply that adds the job. #}
    - run_on_start: False
{%- elif config.schedule %}

netboot-schedule:
  test.show_notification:
    - text: netboot:schedule needs a salt-minion with a master; without one, these states are not applied periodically.
{%- elif minion %}

netboot-schedule:
  schedule.absent:
    - name: netboot
{%- endif %}
