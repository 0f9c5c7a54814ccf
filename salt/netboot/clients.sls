# What clients did, as the web server logged it: kept by address, bounded; and the status page, which
# is made of that without Salt.
{%- from "netboot/map.jinja" import config, paths, problems, service_files with context %}
{%- set shown = not problems and (config.status.allow or config.metrics.file or config.events) %}

include:
  - netboot.{{ 'invalid' if problems else 'http' }}
{%- if not problems %}

netboot-clients-packages:
  netboot_packages.installed:
    - name: Python for netboot-clients
    - pkgs: {{ config.platform.packages.once | json }}

netboot-clients-store:
  file.directory:
    - name: {{ paths.clients }}
    - user: root
    - group: root
    - mode: '0700'
    - require:
      - netboot: netboot-config-applied

netboot-clients-program:
  file.managed:
    - name: {{ paths.clients_program }}
    - source: salt://netboot/files/netboot-clients
    - user: root
    - group: root
    - mode: '0755'
    - makedirs: True

netboot-clients-service:
  netboot_file.written:
    - name: {{ paths.units }}/netboot-clients.service
    - source: salt://netboot/files/netboot-clients.service.jinja

netboot-clients-timer:
  netboot_file.written:
    - name: {{ paths.units }}/netboot-clients.timer
    - source: salt://netboot/files/netboot-clients.timer.jinja

netboot-status-program:
  file.{{ 'managed' if shown else 'absent' }}:
    - name: {{ paths.status_program }}
    {%- if shown %}
    - source: salt://netboot/files/netboot-status
    - user: root
    - group: root
    - mode: '0755'
    - makedirs: True
    {%- endif %}

netboot-status-service:
  {{ 'netboot_file.written' if shown else 'file.absent' }}:
    - name: {{ paths.units }}/netboot-status.service
    {%- if shown %}
    - source: salt://netboot/files/netboot-status.service.jinja
    {%- endif %}

netboot-status-libraries:
  netboot_file.libraries:
    - name: {{ paths.programs }}
    - libraries: {{ (['netboot_events', 'netboot_metrics', 'netboot_page'] if shown else []) | json }}
    - require:
      - file: netboot-clients-program

netboot-status-page:
  {{ 'netboot_file.copied' if config.status.allow else 'file.absent' }}:
    - name: {{ paths.page }}
    {%- if config.status.allow %}
    - sources: [salt://netboot/files/page/page.css, salt://netboot/files/page/page.js]
    - require:
      - netboot: netboot-config-applied
    {%- endif %}

netboot-status-events:
  file.{{ 'directory' if config.events else 'absent' }}:
    - name: {{ paths.events }}
    {%- if config.events %}
    - user: root
    - group: root
    - mode: '0700'
    - makedirs: True
    - require:
      - netboot: netboot-config-applied
    {%- endif %}
{%- if not shown %}

netboot-status-directory:
  file.absent:
    - name: {{ paths.status }}
{%- endif %}

# What node_exporter finds there would be shown for good.
netboot-status-metrics:
  netboot_file.metrics:
    - name: metrics
    - file: {{ config.metrics.file | json }}

netboot-clients:
  netboot_service.current:
    - name: netboot-clients.timer
    - files: {{ service_files['netboot-clients.timer'] | json }}
    - reload: [systemctl, daemon-reload]
    - require:
      - netboot_packages: netboot-clients-packages
      - file: netboot-clients-store
      - file: netboot-clients-program
      - netboot_file: netboot-clients-service
      - netboot_file: netboot-clients-timer
      - file: netboot-status-program
      - {{ 'netboot_file' if shown else 'file' }}: netboot-status-service
      - {{ 'netboot_file' if config.status.allow else 'file' }}: netboot-status-page
      - file: netboot-status-events
{%- endif %}
