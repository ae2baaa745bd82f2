# Only the embedded example makes its own session files; for one's own data this rule does not exist.
if plan.example_ecephys():

    rule example_ecephys:
        output:
            plan.example_ecephys(),
        log:
            f"{LOGS}/example_ecephys.log",
        benchmark:
            f"{LOGS}/example_ecephys.benchmark.tsv"
        conda:
            "../../envs/ephysflow.yaml"
        resources:
            plan=str(plan_file),
            mem_mb=1000,
            runtime=10,
        params:
            item=plan.settings("example_ecephys"),
            code=plan.code["example_ecephys"],
        message:
            "Write the embedded example's Neuropixels sessions."
        shell:
            "ephysflow example-ecephys --plan {resources.plan:q} > {log:q} 2>&1"


rule ecephys:
    input:
        plan.ecephys_outputs(),
    message:
        "Tables and sessions of all Neuropixels projects."


# How many run at once is in profiles/default/config.yaml (resources: downloads). The job tries `warehouse.tries` times and
# goes on where it stopped; attempts of Snakemake would multiply that number.
rule fetch_file:
    output:
        # what came whole before a kill is not deleted: the job looks at it and keeps it
        update(f"{RESULTS}/ecephys/{{project}}/downloads/{{file}}"),
    log:
        f"{LOGS}/fetch_file/{{project}}/{{file}}.log",
    benchmark:
        f"{LOGS}/fetch_file/{{project}}/{{file}}.benchmark.tsv"
    wildcard_constraints:
        project=FETCHING,
        file=FETCHED,
    retries: 0
    conda:
        "../../envs/ephysflow.yaml"
    resources:
        plan=str(plan_file),
        downloads=1,
        mem_mb=1000,
        runtime=600,
    params:
        item=lambda wildcards: plan.settings("fetch_file", *wildcards),
        code=plan.code["fetch_file"],
    message:
        "Download {wildcards.file} ({wildcards.project})."
    shell:
        "ephysflow fetch-file --plan {resources.plan:q} --item {wildcards.project:q} {wildcards.file:q}"
        " > {log:q} 2>&1"


rule index_session:
    input:
        lambda wildcards: plan.projects[wildcards.project].index_inputs(
            wildcards.session
        ),
    output:
        expand(
            "{results}/ecephys/{{project}}/sessions/{{session}}/{name}.parquet",
            results=RESULTS,
            name=paths.SESSION_INDEX,
        ),
    log:
        f"{LOGS}/index_session/{{project}}/{{session}}.log",
    benchmark:
        f"{LOGS}/index_session/{{project}}/{{session}}.benchmark.tsv"
    conda:
        "../../envs/ephysflow.yaml"
    resources:
        plan=str(plan_file),
        mem_mb=1000,
        runtime=30,
    params:
        item=lambda wildcards: plan.settings("index_session", *wildcards),
        code=plan.code["index_session"],
    message:
        "Read what session {wildcards.session} holds ({wildcards.project})."
    shell:
        "ephysflow index-session --plan {resources.plan:q} --item {wildcards.project:q} {wildcards.session:q}"
        " > {log:q} 2>&1"


rule extract_session:
    input:
        lambda wildcards: plan.projects[wildcards.project].product_inputs(
            wildcards.session, wildcards.product_file
        ),
    output:
        f"{RESULTS}/ecephys/{{project}}/sessions/{{session}}/{{product_file}}",
    log:
        f"{LOGS}/extract_session/{{project}}/{{session}}/{{product_file}}.log",
    benchmark:
        f"{LOGS}/extract_session/{{project}}/{{session}}/{{product_file}}.benchmark.tsv"
    conda:
        "../../envs/ephysflow.yaml"
    resources:
        plan=str(plan_file),
        mem_mb=2000,
        runtime=60,
    params:
        item=lambda wildcards: plan.settings("extract_session", *wildcards),
        code=plan.code["extract_session"],
    message:
        "Write {wildcards.product_file} of session {wildcards.session} ({wildcards.project})."
    shell:
        "ephysflow extract-session --plan {resources.plan:q} --item {wildcards.project:q} {wildcards.session:q}"
        " {wildcards.product_file:q} > {log:q} 2>&1"


rule make_project_tables:
    input:
        lambda wildcards: plan.projects[wildcards.project].tables_inputs(),
    output:
        expand(
            "{results}/ecephys/{{project}}/{name}.parquet",
            results=RESULTS,
            name=(*paths.PROJECT_TABLES, "findings"),
        ),
    log:
        f"{LOGS}/make_project_tables/{{project}}.log",
    benchmark:
        f"{LOGS}/make_project_tables/{{project}}.benchmark.tsv"
    conda:
        "../../envs/ephysflow.yaml"
    resources:
        plan=str(plan_file),
        mem_mb=2000,
        runtime=30,
    params:
        item=lambda wildcards: plan.settings("make_project_tables", *wildcards),
        code=plan.code["make_project_tables"],
    message:
        "Make the tables of project {wildcards.project}."
    shell:
        "ephysflow make-project-tables --plan {resources.plan:q} --item {wildcards.project:q} > {log:q} 2>&1"


rule collect_exclusions:
    input:
        lambda wildcards: plan.projects[wildcards.project].exclusions_inputs(),
    output:
        f"{RESULTS}/ecephys/{{project}}/exclusions.parquet",
    log:
        f"{LOGS}/collect_exclusions/{{project}}.log",
    benchmark:
        f"{LOGS}/collect_exclusions/{{project}}.benchmark.tsv"
    conda:
        "../../envs/ephysflow.yaml"
    resources:
        plan=str(plan_file),
        mem_mb=1000,
        runtime=30,
    params:
        item=lambda wildcards: plan.settings("collect_exclusions", *wildcards),
        code=plan.code["collect_exclusions"],
    message:
        "List what was left out of project {wildcards.project}."
    shell:
        "ephysflow collect-exclusions --plan {resources.plan:q} --item {wildcards.project:q} > {log:q} 2>&1"


rule join_analysis_metrics:
    input:
        lambda wildcards: plan.projects[wildcards.project].metrics_inputs(
            wildcards.session_type
        ),
    output:
        f"{RESULTS}/ecephys/{{project}}/analysis_metrics/{{session_type}}.parquet",
    log:
        f"{LOGS}/join_analysis_metrics/{{project}}/{{session_type}}.log",
    benchmark:
        f"{LOGS}/join_analysis_metrics/{{project}}/{{session_type}}.benchmark.tsv"
    conda:
        "../../envs/ephysflow.yaml"
    resources:
        plan=str(plan_file),
        mem_mb=2000,
        runtime=30,
    params:
        item=lambda wildcards: plan.settings("join_analysis_metrics", *wildcards),
        code=plan.code["join_analysis_metrics"],
    message:
        "Join the analysis metrics of {wildcards.session_type} with their units ({wildcards.project})."
    shell:
        "ephysflow join-analysis-metrics --plan {resources.plan:q} --item {wildcards.project:q}"
        " {wildcards.session_type:q} > {log:q} 2>&1"


rule plot_units:
    input:
        lambda wildcards: plan.projects[wildcards.project].units_plot_inputs(),
    output:
        report(
            f"{RESULTS}/plots/ecephys/{{project}}/units.pdf",
            caption="../report/units.rst",
            category="Neuropixels",
            subcategory="{project}",
        ),
    log:
        f"{LOGS}/plot_units/{{project}}.log",
    benchmark:
        f"{LOGS}/plot_units/{{project}}.benchmark.tsv"
    conda:
        "../../envs/ephysflow.yaml"
    resources:
        plan=str(plan_file),
        mem_mb=2000,
        runtime=30,
    params:
        item=lambda wildcards: plan.settings("plot_units", *wildcards),
        code=plan.code["plot_units"],
    message:
        "Draw units by structure and quality ({wildcards.project})."
    shell:
        "ephysflow plot-units --plan {resources.plan:q} --item {wildcards.project:q} > {log:q} 2>&1"


rule plot_session:
    input:
        lambda wildcards: plan.projects[wildcards.project].session_plot_inputs(
            wildcards.session
        ),
    output:
        report(
            f"{RESULTS}/plots/ecephys/{{project}}/session_{{session}}.pdf",
            caption="../report/session.rst",
            category="Neuropixels",
            subcategory="{project}",
        ),
    log:
        f"{LOGS}/plot_session/{{project}}/{{session}}.log",
    benchmark:
        f"{LOGS}/plot_session/{{project}}/{{session}}.benchmark.tsv"
    conda:
        "../../envs/ephysflow.yaml"
    resources:
        plan=str(plan_file),
        mem_mb=2000,
        runtime=30,
    params:
        item=lambda wildcards: plan.settings("plot_session", *wildcards),
        code=plan.code["plot_session"],
    message:
        "Draw rasters and probes of session {wildcards.session} ({wildcards.project})."
    shell:
        "ephysflow plot-session --plan {resources.plan:q} --item {wildcards.project:q} {wildcards.session:q}"
        " > {log:q} 2>&1"
