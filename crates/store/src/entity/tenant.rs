use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "tenant")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    pub name: String,
    pub client_id: String,
    pub oifde_id: String,
    pub default_country: String,
    pub zone: String,
    pub oifde_zone: String,
    pub retention_days: i32,
    pub audit_days: i32,
    pub audit_rows: i64,
    pub quota_bytes: Option<i64>,
    pub misses_are_absences: bool,
    pub explains_misses: bool,
    pub accepts_key_in_url: bool,
    pub mask_after_min: Option<i64>,
    pub mask_fields: Option<String>,
    pub suspended: bool,
    pub expired_until: i64,
    pub created_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
