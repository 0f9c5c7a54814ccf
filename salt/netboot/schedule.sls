# Periodic apply, if the pillar sets an interval: by the minion itself where it has a master, by a
# timer of systemd's where this machine applies by itself.
{%- from "netboot/map.jinja" import config, paths, problems, service_files with context %}
{#- Only a minion that has a master runs as a daemon, which is what keeps a schedule. #}
{%- set minion = opts.get('file_client') == 'remote' %}
{#- salt-ssh renders on its controller; nothing on the target could apply by itself. #}
{%- set ssh = '__master_opts__' in opts %}
{%- set timer = config.get('schedule') and not minion and not ssh %}

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
{%- elif timer %}

netboot-schedule-service:
  netboot_file.written:
    - name: {{ paths.units }}/netboot-apply.service
    - source: salt://netboot/files/netboot-apply.service.jinja

netboot-schedule-timer:
  netboot_file.written:
    - name: {{ paths.units }}/netboot-apply.timer
    - source: salt://netboot/files/netboot-apply.timer.jinja

netboot-schedule:
  netboot_service.current:
    - name: netboot-apply.timer
    - files: {{ service_files['netboot-apply.timer'] | json }}
    {#- systemd then reads both; a run that goes on, perhaps this one, is not interrupted. #}
    - reload: [systemctl, daemon-reload]
    - require:
      - netboot_file: netboot-schedule-service
      - netboot_file: netboot-schedule-timer
{%- elif config.schedule %}

netboot-schedule:
  test.show_notification:
    - text: >-
        netboot:schedule does nothing over salt-ssh: run ./netboot ssh from a timer or cron on the
        machine that has this checkout.
{%- elif minion %}

netboot-schedule:
  schedule.absent:
    - name: netboot
{%- endif %}
{%- if not problems and minion %}

{#- Keys of armed hosts go the same way. #}
{%- set minions = config.installs.values() | map(attribute='salt') | selectattr('master') | list %}
{%- set sends = config.events or minions %}

# Events of clients, which netboot-status queues; what is sent is no job's return.
netboot-events:
  schedule.{{ 'present' if sends else 'absent' }}:
    - name: netboot-events
    {%- if sends %}
    - function: netboot.send_events
    - minutes: 1
    - maxrunning: 1
    - run_on_start: False
    - return_job: False
    {%- endif %}
{%- elif not problems and config.events %}

netboot-events:
  test.show_notification:
    - text: netboot:events does nothing without a master, whose bus gets the events.
{%- endif %}
{%- if not problems and not timer %}

netboot-schedule-timer:
  netboot_service.absent:
    - name: netboot-apply.timer
    - files: {{ service_files['netboot-apply.timer'] | json }}
{%- endif %}
